// The sandbox's control API, and its feed of changes.
const RETRY_FIRST_MS = 300;
const RETRY_MAX_MS = 5000;

export async function get(path) {
  const answer = await fetch(`/sandbox/${path}`);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

export async function post(path, body) {
  const answer = await fetch(`/sandbox/${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const result = await answer.json();
  if (!answer.ok) throw new Error(result.error ?? answer.statusText);
  return result;
}

// Reads the whole state, then follows the feed; after a gap it reads the state again.
export function follow({ state, change, lost }) {
  let pause = RETRY_FIRST_MS;
  const open = async () => {
    const stream = new EventSource("/sandbox/stream");
    stream.onopen = async () => {
      try { state(await get("state")); pause = RETRY_FIRST_MS; } catch { /* the next try reads it */ }
    };
    stream.onmessage = (event) => change(JSON.parse(event.data));
    stream.onerror = () => {
      stream.close();
      lost();
      setTimeout(open, pause);
      pause = Math.min(RETRY_MAX_MS, pause * 2);
    };
  };
  open();
}
