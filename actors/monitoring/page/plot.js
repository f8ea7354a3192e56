/* A line over the last hour. Where there is no value the line has a gap. */

const HOUR_MS = 3_600_000, WIDTH = 100, HEIGHT = 32;

export function plot(at, samples, value, { least, format, label, from, to }) {
  const now = samples.length ? samples.at(-1).at_ms : Date.now();
  const points = samples.map((one) => ({ x: WIDTH * (1 - (now - one.at_ms) / HOUR_MS), y: value(one) }));
  const known = points.filter((one) => one.y != null && one.x >= 0);
  const top = Math.max(least, ...known.map((one) => one.y));
  let line = "", down = false;
  for (const { x, y } of points) {
    if (y == null || x < 0) { down = false; continue; }
    const place = x.toFixed(2) + " " + (HEIGHT - 1 - y / top * (HEIGHT - 2)).toFixed(2);
    // A point with none beside it is a line to itself, which the round ends make a dot.
    line += down ? "L" + place : "M" + place + "L" + place;
    down = true;
  }
  if (!at.firstElementChild) {
    at.innerHTML = `<div class="scale"><span></span><span></span></div>
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img"><path/></svg>
      <div class="times"><span></span><span></span></div>`;
  }
  const [scale, svg, times] = at.children;
  scale.firstElementChild.textContent = format(top);
  scale.lastElementChild.textContent = format(0);
  times.firstElementChild.textContent = from;
  times.lastElementChild.textContent = to;
  svg.firstElementChild.setAttribute("d", line);
  svg.setAttribute("aria-label", label(known.at(-1)?.y ?? null, known.length ? Math.max(...known.map((one) => one.y)) : null));
}
