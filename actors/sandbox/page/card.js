// Card JSON 2.0 as DOM. A card keeps its node over updates: what the reader opened stays
// open, and text that only grew is typed out, at most a second after it arrived.
import { element, inline, markdown } from "./markdown.js";

const CATCH_UP_MS = 900;
const FRAME_MS = 40;

function localized(node, language) {
  return node?.i18n_content?.[language] ?? node?.content ?? "";
}

export class CardView {
  constructor(cardId, { language, press, chosen }) {
    this.cardId = cardId;
    this.language = language;
    this.press = press;
    this.toggled = new Map();
    this.drawn = new Map();
    this.shown = "";
    this.typed = 0;
    this.timer = null;
    this.node = element("article", { class: "card", "data-card-id": cardId });
    this.node.addEventListener("click", (event) => { if (!event.target.closest("button, a, summary")) chosen(cardId); });
  }

  update(card) {
    this.card = card;
    this.node.dataset.state = card.streaming ? "streaming" : "final";
    const answer = find(card.card.body?.elements, "answer");
    const text = localized(answer, this.language());
    const grew = card.streaming && text.startsWith(this.shown.slice(0, this.typed));
    this.shown = text;
    if (!grew) this.typed = text.length;
    this.draw();
    if (this.typed < text.length) this.type();
  }

  type() {
    if (this.timer !== null) return;
    const step = () => {
      const missing = this.shown.length - this.typed;
      if (missing <= 0 || !this.node.isConnected) { this.timer = null; this.typed = this.shown.length; this.drawAnswer(); return; }
      this.typed += Math.max(1, Math.ceil((missing * FRAME_MS) / CATCH_UP_MS));
      this.drawAnswer();
      this.timer = setTimeout(step, FRAME_MS);
    };
    this.timer = setTimeout(step, FRAME_MS);
  }

  draw() {
    if (this.drawnIn !== this.language()) { this.drawn.clear(); this.drawnIn = this.language(); }
    const { header, body } = this.card.card;
    const parts = [];
    if (header?.title) parts.push(element("div", { class: "card-header" }, localized(header.title, this.language())));
    parts.push(...this.list(body?.elements ?? [], "body"));
    sync(this.node, parts);
  }

  drawAnswer() {
    const old = this.node.querySelector('[data-element-id="answer"]');
    const model = find(this.card.card.body?.elements, "answer");
    if (old && model) old.replaceWith(this.one(model, "answer"));
    this.onTyped?.();
  }

  list(models, path) {
    return models.map((model, index) => this.one(model, `${path}/${model.element_id ?? index}`)).filter(Boolean);
  }

  // What has not changed keeps its node, so that a press is not lost to an update beside it.
  one(model, path) {
    const json = JSON.stringify(model);
    const before = this.drawn.get(path);
    if (before?.json === json && model.element_id !== "answer") return before.node;
    let node = before?.node;
    if (model.tag === "column_set" && before?.tag === "column_set") this.columns(node, model, path);
    else node = this.build(model, path);
    if (node && model.element_id) node.dataset.elementId = model.element_id;
    if (node && model.text_size === "notation") node.classList.add("notation");
    this.drawn.set(path, { json, node, tag: model.tag });
    return node;
  }

  columns(node, model, path) {
    sync(node, (model.columns ?? []).map((column, index) => {
      const box = node.children[index] ?? element("div");
      box.className = column.width === "weighted" ? "column grow" : "column";
      sync(box, this.list(column.elements ?? [], `${path}/${index}`));
      return box;
    }));
  }

  build(model, path) {
    switch (model.tag) {
      case "markdown": {
        let text = localized(model, this.language());
        const answering = model.element_id === "answer" && this.card.streaming;
        if (model.element_id === "answer") text = text.slice(0, this.typed);
        const node = markdown(text);
        if (answering && text) caretAt(node).classList.add("caret");
        return node;
      }
      case "plain_text": case "lark_md":
        return element("div", {}, ...(model.tag === "lark_md" ? inline(localized(model, this.language())) : [localized(model, this.language())]));
      case "div":
        return element("div", {}, model.text ? this.one(model.text, `${path}/text`) : "");
      case "hr":
        return element("hr");
      case "img":
        return element("div", { class: "picture" }, `🖼 ${localized(model.alt, this.language()) || model.img_key}`);
      case "collapsible_panel":
        return this.panel(model, path);
      case "column_set": {
        const node = element("div", { class: "columns" });
        this.columns(node, model, path);
        return node;
      }
      case "button":
        return this.button(model);
      case "table":
        return this.table(model);
      default:
        return model.elements ? element("div", { class: "column" }, ...this.list(model.elements, path)) : element("div", { class: "notation" }, `[${model.tag}]`);
    }
  }

  panel(model, path) {
    const key = model.element_id ?? localized(model.header?.title, "en_us");
    const open = this.toggled.get(key) ?? model.expanded ?? false;
    const node = element("details", { class: "panel", open }, element("summary", {}, localized(model.header?.title, this.language())), element("div", {}, ...this.list(model.elements ?? [], path)));
    node.addEventListener("toggle", () => { if (node.isConnected) this.toggled.set(key, node.open); });
    return node;
  }

  button(model) {
    const callback = (model.behaviors ?? []).find((behavior) => behavior.type === "callback");
    const link = (model.behaviors ?? []).find((behavior) => behavior.type === "open_url");
    const node = element("button", { type: "button", disabled: model.disabled === true }, localized(model.text, this.language()));
    if (callback) node.addEventListener("click", async () => { node.disabled = true; try { await this.press(this.cardId, callback.value); } finally { node.disabled = false; } });
    else if (link && /^https?:/.test(link.default_url ?? "")) node.addEventListener("click", () => window.open(link.default_url, "_blank", "noopener"));
    return node;
  }

  table(model) {
    const columns = model.columns ?? [];
    const head = element("tr", {}, ...columns.map((column) => element("th", {}, column.display_name ?? column.name)));
    const rows = (model.rows ?? []).map((row) => element("tr", {}, ...columns.map((column) => element("td", {}, String(row[column.name] ?? "")))));
    return element("div", { class: "md" }, element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))));
  }
}

// Give *parent* these children, touching none that stay.
function sync(parent, nodes) {
  const kept = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!kept.has(child)) child.remove();
  nodes.forEach((node, index) => { if (parent.childNodes[index] !== node) parent.insertBefore(node, parent.childNodes[index] ?? null); });
}

// The innermost last block: where the next character will appear.
function caretAt(node) {
  let at = node;
  while (at.lastElementChild && ["P", "UL", "OL", "LI", "BLOCKQUOTE", "PRE", "CODE", "H1", "H2", "H3", "H4"].includes(at.lastElementChild.tagName) && at.lastChild === at.lastElementChild) at = at.lastElementChild;
  return at;
}

export function find(models, elementId) {
  for (const model of models ?? []) {
    if (model.element_id === elementId) return model;
    const inner = find(model.elements, elementId) ?? find(model.columns, elementId);
    if (inner) return inner;
  }
  return undefined;
}

export function summary(card, language) {
  const config = card.card.config?.summary;
  return localized(config, language) || (card.streaming ? "…" : "");
}

// A message that carries its own card JSON instead of an entity.
export function rawCard(content) {
  try {
    const parsed = JSON.parse(content);
    return parsed?.schema === "2.0" ? parsed : null;
  } catch { return null; }
}
