// While a finger or button is down nothing is painted: what is pressed must not move away
// between the press and the release, or the click is lost.
const HELD_MAX_MS = 3000;
const waiting = new Map(); // key → the newest paint for it
let held = false;
let timer = null;

function release() {
  clearTimeout(timer);
  // After the click that this release makes.
  setTimeout(() => {
    held = false;
    const paints = [...waiting.values()];
    waiting.clear();
    for (const paint of paints) paint();
  });
}

export function holdWhilePressed(root) {
  root.addEventListener("pointerdown", () => { held = true; clearTimeout(timer); timer = setTimeout(release, HELD_MAX_MS); });
  for (const kind of ["pointerup", "pointercancel"]) addEventListener(kind, () => { if (held) release(); });
}

// Paint now, or when nothing is pressed any more; the newest of each key.
export function paint(key, draw) {
  if (held) { waiting.delete(key); waiting.set(key, draw); } else draw();
}
