// The sandbox's control API, and its feed of changes.
const RETRY_FIRST_MS = 300;
const RETRY_MAX_MS = 5000;
const SILENT_MS = 40_000; // the feed sends a heartbeat each 15 s
const KEPT = "larkd-sandbox-token";

// The token comes in the page's address. It is kept, so that links which lead here without
// one (the page that makes an app) find it.
function ownToken() {
  const given = new URLSearchParams(location.search).get("token");
  if (given) localStorage.setItem(KEPT, given);
  return given ?? localStorage.getItem(KEPT) ?? "";
}
const headers = { "X-Sandbox-Token": ownToken() };

// Why a call got no answer of the sandbox's own: "away" or "stranger".
export class Unreachable extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(`/sandbox/${path}`, { ...options, headers: { ...headers, ...options.headers } });
  } catch (failed) {
    if (failed.name === "AbortError") throw failed;
    throw new Unreachable("away");
  }
  if (answer.status === 401 || answer.status === 403) throw new Unreachable("stranger");
  return answer;
}

export async function get(path, options) {
  const answer = await call(path, options);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

export async function post(path, body) {
  const answer = await call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const result = await answer.json();
  if (!answer.ok) throw new Error(result.error ?? answer.statusText);
  return result;
}

const urls = new Map();

// A picture or file as an address the page may show: the token can't go into an <img>.
export function fileUrl(key) {
  if (!urls.has(key)) {
    const loaded = call(`files/${encodeURIComponent(key)}`).then(async (answer) => {
      if (!answer.ok) throw new Error(String(answer.status));
      return URL.createObjectURL(await answer.blob());
    });
    loaded.catch(() => urls.delete(key));
    urls.set(key, loaded);
  }
  return urls.get(key);
}

async function readFeed({ state, change }, opened) {
  const silence = new AbortController();
  let timer;
  const received = () => { clearTimeout(timer); timer = setTimeout(() => silence.abort(), SILENT_MS); };
  received();
  try {
    const answer = await call("stream", { signal: silence.signal });
    state(await get("state", { signal: silence.signal }));
    opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      received();
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) if (event.startsWith("data: ")) change(JSON.parse(event.slice(6)));
    }
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

// Reads the whole state, then follows the feed; after a gap it reads the state again. Ends
// only with the page.
export async function follow(handlers) {
  let pause = RETRY_FIRST_MS;
  for (;;) {
    let reason = "away";
    try {
      await readFeed(handlers, () => { pause = RETRY_FIRST_MS; });
    } catch (failed) {
      if (failed instanceof Unreachable) reason = failed.reason;
    }
    handlers.lost(reason);
    await new Promise((resume) => setTimeout(resume, pause));
    pause = Math.min(RETRY_MAX_MS, pause * 2);
  }
}
