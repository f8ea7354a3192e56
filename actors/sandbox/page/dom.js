// DOM without rebuilding: what stays keeps its node, so that a click, a focus or a
// selection is never lost to an update beside it.

const models = new WeakMap(); // node → what it was painted from

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") node.className = value;
    else if (key === "model") models.set(node, value);
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const modelOf = (node) => models.get(node);

// Give *parent* these children, touching none that stay.
export function sync(parent, nodes) {
  const kept = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!kept.has(child)) child.remove();
  nodes.forEach((node, index) => { if (parent.childNodes[index] !== node) parent.insertBefore(node, parent.childNodes[index] ?? null); });
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const keyOf = (node) => node.dataset?.key;
const alike = (old, fresh) => old && old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh);
const TYPED_INTO = new Set(["INPUT", "TEXTAREA", "SELECT"]);

function morphAttributes(old, fresh) {
  const same = old.dataset.file && old.dataset.file === fresh.dataset.file;
  for (const { name } of [...old.attributes]) {
    if (fresh.hasAttribute(name) || (same && (name === "src" || name === "data-loading"))) continue;
    old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

// Make *old* look like *fresh*, keeping every node of it that still has a place. What
// people typed or chose in an input stays theirs.
export function morph(old, fresh) {
  if (models.has(fresh)) models.set(old, models.get(fresh));
  morphAttributes(old, fresh);
  if (TYPED_INTO.has(old.nodeName) && old.nodeName !== "SELECT") return old;
  const byKey = new Map([...old.childNodes].filter(keyOf).map((child) => [keyOf(child), child]));
  const wanted = [...fresh.childNodes].map((child, index) => {
    const candidate = keyOf(child) ? byKey.get(keyOf(child)) : old.childNodes[index];
    if (!alike(candidate, child)) return child;
    if (child.nodeType === Node.TEXT_NODE) { if (candidate.data !== child.data) candidate.data = child.data; return candidate; }
    return morph(candidate, child);
  });
  sync(old, wanted);
  return old;
}
