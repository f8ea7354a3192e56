// A voice message from the microphone, where the browser gives one.
import { oggOfWebm } from "./ogg.js";

const OGG = "audio/ogg;codecs=opus", WEBM = "audio/webm;codecs=opus";
const TICK_MS = 250;
export const SECONDS_MAX = 60; // what speech recognition takes

const kind = () => [OGG, WEBM].find((one) => window.MediaRecorder?.isTypeSupported(one));
export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && kind());

// Record until the answer's stop() is called or it is full; *tick* is called with the seconds
// so far, and *done* with the file. Fails where the microphone is refused.
export async function record(tick, done, failed) {
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(microphone, { mimeType: kind() });
  const parts = [], began = performance.now();
  const stop = () => { if (recorder.state !== "inactive") recorder.stop(); };
  const timer = setInterval(() => {
    const seconds = (performance.now() - began) / 1000;
    tick(Math.floor(seconds));
    if (seconds >= SECONDS_MAX - 1) stop();
  }, TICK_MS);
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.onstop = async () => {
    clearInterval(timer);
    for (const track of microphone.getTracks()) track.stop();
    try { done(await file(new Blob(parts, { type: recorder.mimeType }))); } catch (wrong) { failed(wrong); }
  };
  recorder.start();
  return { stop };
}

async function file(recorded) {
  const ogg = recorded.type.startsWith("audio/ogg");
  const parts = ogg ? [recorded] : oggOfWebm(new Uint8Array(await recorded.arrayBuffer()));
  return new File(parts, "voice.ogg", { type: "audio/ogg" });
}
