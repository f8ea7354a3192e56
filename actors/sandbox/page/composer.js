// What is written: text, what it answers, and pictures or files pasted, dropped or chosen.
import { post } from "./api.js";
import { element } from "./dom.js";
import { chats, t, textOf, view } from "./store.js";
import { canRecord, record } from "./voice.js";

const BYTES_MAX = 30 * 1024 * 1024;
const ROWS_MAX = 7;
const $ = (id) => document.getElementById(id);
const attached = []; // {file, url}
let hooks = { failed() {}, sent() {} };
let sending = false;
let again = false; // it was pressed while something was on its way: that goes next
let recording = null;

export function setUp(given) {
  hooks = given;
  $("compose").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  $("composer").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("compose").requestSubmit(); }
    if (event.key === "Escape") answer(null, false);
  });
  $("composer").addEventListener("input", grow);
  $("composer").addEventListener("paste", (event) => { if (event.clipboardData.files.length) { event.preventDefault(); attach(event.clipboardData.files); } });
  $("attach").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", () => { attach($("files").files); $("files").value = ""; });
  $("record").hidden = !canRecord();
  $("record").addEventListener("click", toggleRecording);
  $("reply-cancel").addEventListener("click", () => answer(null, false));
  const main = document.querySelector("main");
  main.addEventListener("dragover", (event) => { if ([...event.dataTransfer.types].includes("Files")) { event.preventDefault(); main.classList.add("dropping"); } });
  main.addEventListener("dragleave", (event) => { if (!main.contains(event.relatedTarget)) main.classList.remove("dropping"); });
  main.addEventListener("drop", (event) => { event.preventDefault(); main.classList.remove("dropping"); attach(event.dataTransfer.files); });
}

function grow() {
  const box = $("composer");
  box.rows = Math.min(ROWS_MAX, box.value.split("\n").length);
}

export function answer(message, inTopic) {
  view.replyTo = message;
  view.inTopic = inTopic;
  $("reply").hidden = !message;
  if (message) {
    $("reply-text").textContent = `${t(inTopic ? "topic" : "replyTo")} ${message.sender.name}: ${textOf(message).slice(0, 80)}`;
    $("composer").focus();
  }
}

function attach(files) {
  for (const file of files) {
    if (file.size > BYTES_MAX) { hooks.failed(new Error(`${file.name} ${t("tooLarge")}`)); continue; }
    attached.push({ file, url: file.type.startsWith("image/") ? URL.createObjectURL(file) : null });
  }
  drawAttached();
  $("composer").focus();
}

async function toggleRecording() {
  if (recording) { recording.stop(); return; }
  const button = $("record");
  button.disabled = true;
  const ended = () => { recording = null; labelRecord("record"); $("record-seconds").textContent = ""; };
  try {
    recording = await record(
      (seconds) => { $("record-seconds").textContent = `${seconds}″`; },
      (file) => { ended(); attach([file]); },
      (wrong) => { ended(); hooks.failed(wrong); },
    );
    labelRecord("recordEnd");
  } catch { hooks.failed(new Error(t("noMicrophone"))); }
  button.disabled = false;
}

function labelRecord(name) {
  const button = $("record");
  button.dataset.tLabel = name;
  button.title = t(name);
  button.setAttribute("aria-label", t(name));
  button.classList.toggle("recording", name === "recordEnd");
}

function drawAttached() {
  $("attached").hidden = !attached.length;
  $("attached").replaceChildren(...attached.map((one) => element("li", {},
    one.url ? element("img", { src: one.url, alt: "" }) : null,
    element("span", {}, one.file.name || one.file.type),
    element("button", { type: "button", class: "icon", "aria-label": `${t("remove")} ${one.file.name}`, onclick: () => { release(one); drawAttached(); } }, "×"))));
}

function release(one) {
  if (one.url) URL.revokeObjectURL(one.url);
  attached.splice(attached.indexOf(one), 1);
}

const base64 = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(file);
});

async function duration(file) {
  const url = URL.createObjectURL(file), player = new Audio(url);
  const ms = await new Promise((resolve) => { player.onloadedmetadata = () => resolve(Math.round(player.duration * 1000) || 1000); player.onerror = () => resolve(1000); });
  URL.revokeObjectURL(url);
  return ms;
}

// Returns the message's type and content for an uploaded file.
async function carried(file) {
  const name = file.name || "file";
  const image = file.type.startsWith("image/");
  const voice = /^audio\/(ogg|opus)/.test(file.type) || /\.(opus|ogg|oga)$/i.test(name);
  const { key } = await post("upload", { kind: image ? "image" : voice ? "opus" : "stream", name, base64: await base64(file) });
  if (image) return { message_type: "image", content: JSON.stringify({ image_key: key }) };
  if (voice) return { message_type: "audio", content: JSON.stringify({ file_key: key, duration: await duration(file) }) };
  return { message_type: "file", content: JSON.stringify({ file_key: key, file_name: name }) };
}

async function send() {
  const text = $("composer").value;
  if (sending) { again = true; return; }
  if (!view.chat || (!text.trim() && !attached.length)) return;
  sending = true;
  $("send").setAttribute("aria-busy", "true");
  const to = { chat_id: view.chat, sender: $("sender").value || undefined, parent_id: view.replyTo?.message_id, reply_in_thread: view.inTopic || undefined };
  const mention = chats.get(view.chat).type === "group" && $("mention").checked;
  $("composer").value = "";
  grow();
  try {
    while (attached.length) {
      await post("send", { ...to, ...await carried(attached[0].file) });
      release(attached[0]);
      drawAttached();
    }
    if (text.trim()) await post("send", { ...to, text, mention_bot: mention });
    answer(null, false);
    hooks.sent();
  } catch (failed) {
    again = false;
    hooks.failed(failed);
    if (!$("composer").value) $("composer").value = text;
    grow();
  } finally {
    sending = false;
    $("send").removeAttribute("aria-busy");
  }
  if (again) { again = false; await send(); }
}
