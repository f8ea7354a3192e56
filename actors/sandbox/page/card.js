// Card JSON 2.0 as DOM. A card keeps its nodes over updates; what the reader opened stays
// open; text that came by `/content` is typed out as the card's streaming_config asks.
import { element, modelOf, morph } from "./dom.js";
import { fileUrl } from "./api.js";
import { paint } from "./hold.js";
import { FORM_TAGS, formValue, input } from "./forms.js";
import { inline, markdown, picture } from "./markdown.js";

const FREQUENCY_MS = 70;
const STEP = 1;
const FRAME_MS = 16;
const ALL_DONE = /\((\d+)\/\1\)$/; // a title that counts, as "Plan (3/3)"

export function localized(node, language) {
  return node?.i18n_content?.[language] ?? node?.content ?? "";
}

const default_ = (setting, fallback) => setting?.pc ?? setting?.default ?? fallback;

// What is painted of an element's text, and what more of it is to be typed.
class Typewriter {
  constructor(shown) {
    this.target = shown;
    this.painted = shown.length;
    this.sequence = 0;
  }

  // The increment is typed where the old text begins the new one; else all is painted.
  receive(text, sequence, { typed, delay }) {
    const grows = typed && sequence !== this.sequence && text.startsWith(this.target);
    if (typed && sequence === this.sequence && text === this.target) return;
    if (!grows) this.painted = text.length;
    else if (!delay) this.painted = this.target.length;
    this.target = text;
    this.sequence = sequence ?? 0;
  }

  get done() { return this.painted >= this.target.length; }
  step(count) { this.painted = Math.min(this.target.length, this.painted + count); }
}

export class CardView {
  constructor(cardId, { language, press, chosen }) {
    this.cardId = cardId;
    this.language = language;
    this.press = press;
    this.toggled = new Map();
    this.typewriters = new Map();
    this.pending = new Set();
    this.timer = null;
    this.node = element("article", { class: "card", "data-card-id": cardId });
    this.node.addEventListener("click", (event) => this.clicked(event, chosen));
    this.node.addEventListener("change", (event) => this.changed(event));
    this.node.addEventListener("submit", (event) => event.preventDefault());
  }

  update(card, { first = false } = {}) {
    const before = this.card?.card.body?.elements;
    this.card = card;
    this.node.dataset.state = card.streaming ? "streaming" : "final";
    const delay = card.card.config?.streaming_config?.print_strategy === "delay";
    for (const [elementId, sequence] of Object.entries(card.typed ?? {})) {
      const text = localized(find(card.card.body?.elements, elementId), this.language());
      if (!this.typewriters.has(elementId)) this.typewriters.set(elementId, new Typewriter(localized(find(before, elementId), this.language())));
      this.typewriters.get(elementId).receive(text, sequence, { typed: card.streaming && !first, delay });
    }
    for (const elementId of [...this.typewriters.keys()]) if (!(elementId in (card.typed ?? {})) || !card.streaming) this.typewriters.delete(elementId);
    this.draw();
    this.type();
  }

  type() {
    if (this.timer !== null) return;
    const config = this.card.card.config?.streaming_config;
    const frequency = Math.max(FRAME_MS, default_(config?.print_frequency_ms, FREQUENCY_MS));
    const step = default_(config?.print_step, STEP);
    if ([...this.typewriters.values()].every((one) => one.done)) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      for (const typewriter of this.typewriters.values()) typewriter.step(step);
      paint(`${this.cardId}/typed`, () => this.draw());
      this.type();
    }, frequency);
  }

  draw() {
    const { header, body } = this.card.card;
    const fresh = element("article");
    for (const { name, value } of this.node.attributes) fresh.setAttribute(name, value);
    if (header?.title) fresh.append(element("div", { class: `card-header ${header.template ?? ""}`, "data-key": "header" }, localized(header.title, this.language())));
    fresh.append(...this.list(body?.elements ?? [], "body"));
    morph(this.node, fresh);
    hydrate(this.node);
  }

  list(models, path) {
    return models.map((model, index) => this.one(model, `${path}/${model.element_id ?? index}`)).filter(Boolean);
  }

  one(model, path) {
    const node = this.build(model, path);
    node.dataset.key = path;
    if (model.element_id) node.dataset.elementId = model.element_id;
    if (model.text_size === "notation") node.classList.add("notation");
    return node;
  }

  build(model, path) {
    if (FORM_TAGS.has(model.tag)) return input(model, path, this.language());
    switch (model.tag) {
      case "markdown": return this.markdown(model);
      case "plain_text": case "lark_md":
        return element("div", {}, ...(model.tag === "lark_md" ? inline(localized(model, this.language())) : [localized(model, this.language())]));
      case "div":
        return element("div", {}, model.text ? this.one(model.text, `${path}/text`) : "");
      case "hr":
        return element("hr");
      case "img":
        return picture(model.img_key ?? "", localized(model.alt, this.language()));
      case "collapsible_panel":
        return this.panel(model, path);
      case "column_set":
        return element("div", { class: "columns" }, (model.columns ?? []).map((column, index) => element("div", { class: column.width === "weighted" ? "column grow" : "column", "data-key": `${path}/${index}` }, this.list(column.elements ?? [], `${path}/${index}`))));
      case "form":
        return element("form", { class: "form", "data-form": model.name, novalidate: true }, this.list(model.elements ?? [], path));
      case "button":
        return this.button(model, path);
      case "table":
        return this.table(model);
      default:
        return model.elements ? element("div", { class: "column" }, this.list(model.elements, path)) : element("div", { class: "notation" }, `[${model.tag}]`);
    }
  }

  markdown(model) {
    const typewriter = this.typewriters.get(model.element_id);
    const text = localized(model, this.language());
    if (!typewriter) return markdown(text);
    const node = markdown(text.slice(0, typewriter.painted));
    if (this.card.streaming && text && model.text_size !== "notation") caretAt(node).classList.add("caret");
    return node;
  }

  panel(model, path) {
    const key = model.element_id ?? path;
    // What has been done to its end gives its space to the answer, unless the reader opened it.
    const over = !this.card.streaming && ALL_DONE.test(localized(model.header?.title, this.language()));
    const open = this.toggled.get(key) ?? (model.expanded === true && !over);
    const title = element("summary", { model: { toggles: key } }, localized(model.header?.title, this.language()));
    if (model.header?.title?.element_id) title.dataset.elementId = model.header.title.element_id;
    return element("details", { class: "panel", open }, title, element("div", {}, this.list(model.elements ?? [], path)));
  }

  button(model, path) {
    const busy = this.pending.has(path);
    const kinds = { primary: "primary", primary_filled: "primary", laser: "primary", danger: "danger", danger_filled: "danger", danger_text: "danger" };
    return element("button", {
      type: model.form_action_type === "reset" ? "reset" : "button", class: kinds[model.type] ?? "", disabled: model.disabled === true,
      "aria-busy": busy ? "true" : null, title: model.hover_tips ? localized(model.hover_tips, this.language()) : null, model: { button: model, path },
    }, localized(model.text, this.language()));
  }

  table(model) {
    const columns = model.columns ?? [];
    const head = element("tr", {}, columns.map((column) => element("th", {}, column.display_name ?? column.name)));
    const rows = (model.rows ?? []).map((row) => element("tr", {}, columns.map((column) => element("td", {}, String(row[column.name] ?? "")))));
    return element("div", { class: "md" }, element("div", { class: "scroll", tabindex: "0" }, element("table", {}, element("thead", {}, head), element("tbody", {}, rows))));
  }

  // ── what the reader does ──────────────────────────────────────────────────

  clicked(event, chosen) {
    const target = event.target.closest("button, summary, a, input, select, textarea, label");
    const model = target && modelOf(target);
    if (model?.toggles) this.toggled.set(model.toggles, !target.parentNode.open);
    else if (model?.button) this.pressed(target, model);
    else if (!target) chosen(this.cardId);
  }

  async pressed(target, { button, path }) {
    if (this.pending.has(path) || button.form_action_type === "reset") return;
    const behaviors = button.behaviors ?? [];
    const callback = behaviors.find((behavior) => behavior.type === "callback");
    const link = behaviors.find((behavior) => behavior.type === "open_url");
    const form = button.form_action_type === "submit" ? target.closest("form") : null;
    if (link && /^https?:/.test(link.default_url ?? "")) window.open(link.default_url, "_blank", "noopener");
    if (!callback && !form) return;
    if (form && !form.reportValidity()) return;
    if (button.confirm && !window.confirm(`${localized(button.confirm.title, this.language())}\n\n${localized(button.confirm.text, this.language())}`)) return;
    this.pending.add(path);
    this.draw();
    try {
      await this.press(this.cardId, { tag: "button", name: button.name, element_id: button.element_id, value: callback?.value ?? {}, form_value: form ? formValue(form) : undefined });
    } finally {
      this.pending.delete(path);
      this.draw();
    }
  }

  // An input outside of a form calls back by itself.
  async changed(event) {
    const model = modelOf(event.target)?.input;
    const callback = (model?.behaviors ?? []).find((behavior) => behavior.type === "callback");
    if (!callback || event.target.closest("form")) return;
    const held = model.tag === "checker" ? { checked: event.target.checked } : model.tag === "select_static" ? { option: event.target.value } : { input_value: event.target.value };
    await this.press(this.cardId, { tag: model.tag, name: model.name, element_id: model.element_id, value: callback.value, ...held });
  }
}

// Pictures are fetched with the run's token and shown from memory.
export function hydrate(root) {
  for (const node of root.querySelectorAll("[data-file]:not([data-loading])")) {
    node.dataset.loading = node.dataset.file;
    fileUrl(node.dataset.file).then((url) => { node.src = url; }, () => { if (node.tagName === "IMG") node.alt = `[${node.alt || node.dataset.file}]`; });
  }
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
    const inner = find(model.elements, elementId) ?? find(model.columns, elementId) ?? (model.text?.element_id === elementId ? model.text : undefined);
    if (inner) return inner;
  }
  return undefined;
}

// What a card that has no summary begins with.
export function firstText(models, language) {
  for (const model of models ?? []) {
    const shown = localized(model, language) || firstText(model.elements ?? model.columns, language);
    if (shown) return shown;
  }
  return "";
}

export function summary(card, language) {
  return localized(card.card.config?.summary, language) || (card.streaming ? "…" : "");
}

// A message that carries its own card JSON instead of an entity.
export function rawCard(content) {
  try {
    const parsed = JSON.parse(content);
    return parsed?.schema === "2.0" ? parsed : null;
  } catch { return null; }
}
