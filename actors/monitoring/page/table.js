/* Tables whose rows are kept by their key: a click, or the focus on a row's button, survives
   every update. */

export const $ = (id) => document.getElementById(id);

export function setText(id, value, kind = "") {
  const at = $(id);
  if (at.textContent !== value) at.textContent = value;
  at.classList.toggle("bad", kind === "bad");
  at.classList.toggle("good", kind === "good");
}

/** rows: [{key, cells, kind}]; kind is the row's class; a cell is a text, or {id, make} for an element made anew when id changes. */
export function setRows(id, rows, empty) {
  const table = $(id), body = table.tBodies[0];
  const labels = [...table.tHead.rows[0].cells].map((th) => th.textContent);
  if (!rows.length) rows = [{ key: "", cells: [empty], wide: true }];
  const old = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  rows.forEach(({ key, cells, wide, kind = "" }, at) => {
    const row = old.get(key) || body.insertRow();
    old.delete(key);
    row.dataset.key = key;
    row.className = kind;
    cells.forEach((value, n) => {
      const cell = row.cells[n] || row.insertCell();
      cell.dataset.label = wide ? "" : labels[n];
      if (wide) cell.colSpan = labels.length;
      cell.classList.toggle("dim", Boolean(wide));
      if (typeof value !== "object") {
        if (cell.textContent !== String(value)) cell.textContent = String(value);
      } else if (cell.dataset.made !== value.id) {
        cell.replaceChildren(value.make());
        cell.dataset.made = value.id;
      }
    });
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] || null);
  });
  old.forEach((row) => row.remove());
}

export function button(label, what, { disabled = false, about = "" } = {}) {
  return {
    id: [label, disabled, about].join("\n"),
    make() {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = label;
      if (about) made.setAttribute("aria-label", about);
      made.disabled = disabled;
      made.onclick = what;
      return made;
    },
  };
}
