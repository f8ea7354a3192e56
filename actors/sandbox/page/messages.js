// One conversation: a node for each message that stays over every change of it, replies of
// a topic below its first message, and a view that follows the end unless it was left.
import { fileUrl, post } from "./api.js";
import { CardView, hydrate, rawCard } from "./card.js";
import { element, modelOf, morph } from "./dom.js";
import { linked, markdown, picture } from "./markdown.js";
import { cards, messages, parsed, t, textOf, time, view } from "./store.js";

const EMOJI = { OK: "👌", THUMBSUP: "👍", DONE: "✅", HEART: "❤️", SMILE: "😊", OnIt: "🫡", Get: "👀", CheckMark: "✔️", CrossMark: "❌", Alarm: "⏰", OneSecond: "⏳", ERROR: "⚠️" };
const NEAR_END_PX = 80;
const SHOWN_AT_ONCE = 200;
const PRESSABLE = "button, summary, a, input, select, textarea, label";

const $ = (id) => document.getElementById(id);
const hue = (name) => `hue-${[...name].reduce((sum, character) => sum + character.codePointAt(0), 0) % 6}`;
export const avatar = (name, bot, small) => element("span", { class: `avatar ${bot ? "bot" : hue(name)} ${small ? "small" : ""}`, "aria-hidden": "true" }, bot ? "" : [...name][0]?.toUpperCase() ?? "?");

const nodes = new Map(); // message id → its node in the conversation shown
const cardViews = new Map(); // card id, or message id of a raw card → its view
let following = true;
let pointed = null; // what can be pressed under the pointer, and where it is
let keptAt = null; // how far this page itself has scrolled, to keep it there
let shownMax = SHOWN_AT_ONCE;
let shownChat = null;
let leftOut = new Set(); // ids of this conversation's earlier messages
let hooks = { failed() {}, chosen() {}, reply() {} };

export function setUp(given) {
  hooks = given;
  const box = $("messages");
  let before = 0;
  box.addEventListener("scroll", () => {
    if (box.scrollTop !== keptAt) { keptAt = null; pointAt(pointed?.node); }
    // Only who scrolls up leaves the end: it also moves away when something is added.
    if (nearEnd()) following = true;
    else if (box.scrollTop < before) following = false;
    before = box.scrollTop;
    drawLatest();
  }, { passive: true });
  box.addEventListener("click", acted);
  box.addEventListener("pointerover", (event) => { if (event.pointerType === "mouse") { pointAt(event.target.closest(PRESSABLE)); keepPlace(); } });
  box.addEventListener("pointerleave", () => { pointAt(null); keepPlace(); });
  for (const one of [$("conversation"), box]) new ResizeObserver(() => { keepPlace(); drawLatest(); }).observe(one);
  $("latest").addEventListener("click", () => { following = true; toEnd(); drawLatest(); $("composer").focus({ preventScroll: true }); });
}

const nearEnd = () => { const box = $("messages"); return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END_PX; };
export const toEnd = () => { $("messages").scrollTop = $("messages").scrollHeight; };
const pointAt = (node) => { pointed = node ? { node, top: node.getBoundingClientRect().top } : null; };

// Keep at the end; but what the pointer is on stays under it, so that a press meets it.
function keepPlace() {
  if (!following) return;
  if (!pointed?.node.isConnected) return toEnd();
  $("messages").scrollTop += pointed.node.getBoundingClientRect().top - pointed.top;
  keptAt = $("messages").scrollTop; // looked at anew after each, it would drift: positions are rounded
}

export const follow = () => { following = true; toEnd(); };
const drawLatest = () => { $("latest").hidden = following; };

// ── drawing ─────────────────────────────────────────────────────────────────

export function drawConversation() {
  nodes.clear();
  if (shownChat !== view.chat) shownMax = SHOWN_AT_ONCE;
  shownChat = view.chat;
  const all = [...messages.values()].filter((message) => message.chat_id === view.chat);
  const empty = element("div", { class: "empty" }, element("b", { "data-t": "emptyTitle" }, t("emptyTitle")), element("span", { "data-t": "empty" }, t("empty")));
  const earlier = element("button", { type: "button", class: "quiet earlier", "data-t": "earlier", onclick: drawEarlier }, t("earlier"));
  $("conversation").replaceChildren(...(all.length ? all.length > shownMax ? [earlier] : [] : [empty]));
  leftOut = new Set(all.slice(0, -shownMax).map((message) => message.message_id));
  all.slice(-shownMax).forEach(drawMessage);
  follow();
  drawLatest();
}

// More of what was before, with what is being read where it is.
function drawEarlier() {
  const box = $("messages"), below = box.scrollHeight - box.scrollTop;
  shownMax += SHOWN_AT_ONCE;
  drawConversation();
  following = false;
  box.scrollTop = box.scrollHeight - below;
  drawLatest();
}

export function drawMessage(message) {
  if (message.chat_id !== view.chat || leftOut.has(message.message_id)) return;
  const fresh = messageNode(message);
  const old = nodes.get(message.message_id);
  if (old) patch(old, fresh, message);
  else { place(fresh, message); nodes.set(message.message_id, fresh); }
  hydrate(nodes.get(message.message_id));
}

// The body of a card is its view's own and is never morphed from outside.
function patch(old, fresh, message) {
  const [body, freshBody] = [old.querySelector(":scope > .body"), fresh.querySelector(":scope > .body")];
  fresh.classList.toggle("picked", old.classList.contains("picked"));
  old.className = fresh.className;
  for (const part of ["who", "quote", "reactions", "actions"]) replacePart(body, freshBody, part);
  const [content, freshContent] = [body.querySelector(":scope > .content"), freshBody.querySelector(":scope > .content")];
  const view_ = !message.recalled && viewFor(message);
  if (view_) { if (content.firstChild !== view_.node) content.replaceChildren(view_.node); } else morph(content, freshContent);
}

function replacePart(body, freshBody, name) {
  const [old, fresh] = [body.querySelector(`:scope > .${name}`), freshBody.querySelector(`:scope > .${name}`)];
  if (old && fresh) morph(old, fresh);
  else if (old) old.remove();
  else if (fresh) {
    if (name === "quote") body.querySelector(":scope > .content").before(fresh);
    else if (name === "reactions") body.querySelector(":scope > .content").after(fresh);
    else body.prepend(fresh);
  }
}

function place(node, message) {
  $("conversation").querySelector(".empty")?.remove();
  const first = message.thread_id && message.root_id && nodes.get(message.root_id);
  if (!first) { $("conversation").append(node); return; }
  let replies = first.querySelector(":scope > .body > .replies");
  if (!replies) { replies = element("div", { class: "replies" }); first.querySelector(":scope > .body").append(replies); }
  replies.append(node);
}

function messageNode(message) {
  const bot = message.sender.type === "app";
  const parent = message.parent_id && !message.thread_id && messages.get(message.parent_id);
  const body = element("div", { class: "body" },
    element("div", { class: "who" }, `${message.sender.name} · ${time(message.create_time)}`),
    parent ? element("div", { class: "quote" }, `${t("replyTo")} ${parent.sender.name}: ${textOf(parent).slice(0, 80)}`) : null,
    element("div", { class: "content" }, content(message)),
    reactions(message), actions(message, bot));
  return element("div", { class: `message ${bot ? "theirs" : "mine"} ${message.recalled ? "recalled" : ""}`, "data-message-id": message.message_id }, avatar(message.sender.name, bot, true), body);
}

function content(message) {
  if (message.recalled) return element("div", { class: "bubble" }, textOf(message));
  const card = viewFor(message);
  if (card) return card.node;
  const held = parsed(message);
  switch (message.msg_type) {
    case "post": return element("div", { class: "bubble rich" }, postNodes(held));
    case "image": return element("div", { class: "bubble media" }, picture(held.image_key ?? "", "🖼"));
    case "audio": return element("div", { class: "bubble media" }, `${t("voice")} ${held.duration ? `${Math.max(1, Math.round(held.duration / 1000))}″` : ""}`, element("audio", { controls: true, "aria-label": t("voice"), "data-file": held.file_key }));
    case "file": case "media": return element("div", { class: "bubble media" }, element("button", { type: "button", class: "file", model: { download: held } }, held.file_name ?? held.file_key));
    default: return element("div", { class: "bubble" }, linked(textOf(message)));
  }
}

function postNodes(held) {
  const post = held.zh_cn ?? held.en_us ?? held;
  const paragraph = (row) => {
    if (row.length === 1 && row[0].tag === "md") return markdown(row[0].text ?? "");
    return element("p", {}, row.map((node) => {
      switch (node.tag) {
        case "a": return /^https?:/.test(node.href ?? "") ? element("a", { href: node.href, rel: "noopener noreferrer", target: "_blank" }, node.text ?? node.href) : node.text ?? "";
        case "at": return element("span", { class: "at" }, `@${node.user_name ?? node.user_id}`);
        case "img": return picture(node.image_key ?? "", "");
        case "code_block": return element("pre", {}, element("code", {}, node.text ?? ""));
        case "hr": return element("hr");
        case "md": return markdown(node.text ?? "");
        default: return node.text ?? "";
      }
    }));
  };
  return element("div", { class: "md" }, post.title ? element("strong", {}, post.title) : null, (post.content ?? []).map(paragraph));
}

function reactions(message) {
  if (!message.reactions.length) return null;
  return element("div", { class: "reactions" }, message.reactions.map((reaction) => reaction.emoji_type === "Typing"
    ? element("span", { class: "reaction typing", title: "Typing", "data-key": reaction.reaction_id }, element("i"), element("i"), element("i"))
    : element("span", { class: "reaction", title: reaction.emoji_type, "data-key": reaction.reaction_id }, EMOJI[reaction.emoji_type] ?? reaction.emoji_type)));
}

function actions(message, bot) {
  if (message.recalled) return null;
  const button = (name) => element("button", { type: "button", class: "quiet", model: { act: name, message }, "data-key": name }, t(name));
  return element("div", { class: "actions" }, button("reply"), button("topic"), bot ? button("react") : button("recall"));
}

// ── cards ───────────────────────────────────────────────────────────────────

const options = () => ({ language: () => view.language, press, chosen: hooks.chosen });

function viewFor(message) {
  const card = message.card_id && cards.get(message.card_id);
  if (card) return viewOf(card);
  const raw = message.msg_type === "interactive" && rawCard(message.content);
  if (!raw) return null;
  let found = cardViews.get(message.message_id);
  if (!found) { found = new CardView(message.message_id, options()); cardViews.set(message.message_id, found); }
  found.update({ card: raw, streaming: false }, { first: true });
  return found;
}

function viewOf(card) {
  let found = cardViews.get(card.card_id);
  if (!found) {
    found = new CardView(card.card_id, options());
    cardViews.set(card.card_id, found);
    found.update(card, { first: true });
  }
  return found;
}

export function drawCard(card) {
  viewOf(card).update(card);
  const message = messages.get(card.message_id);
  if (message && message.chat_id === view.chat && !nodes.get(message.message_id)?.contains(viewOf(card).node)) drawMessage(message);
}

// In another language, where it stands.
export function drawAgain() {
  for (const messageId of nodes.keys()) drawMessage(messages.get(messageId));
  for (const one of cardViews.values()) if (one.card) one.update(one.card, { first: true });
}

async function press(cardId, action) {
  try {
    const answer = await post("click", { [cards.has(cardId) ? "card_id" : "message_id"]: cardId, operator: $("sender").value || undefined, ...action });
    if (answer.code) hooks.failed(new Error(`${answer.code === 200341 ? t("timeout") : t("failed")} (${answer.code})`));
  } catch (failed) { hooks.failed(failed); }
}

// ── what the reader does with a message ─────────────────────────────────────

async function acted(event) {
  const button = event.target.closest(PRESSABLE);
  if (!button) pick(event.target.closest(".message"));
  const model = button && modelOf(button);
  try {
    if (model?.download) await download(model.download);
    else if (model?.act === "reply" || model?.act === "topic") hooks.reply(messages.get(model.message.message_id), model.act === "topic");
    else if (model?.act === "recall") await post("recall", { message_id: model.message.message_id });
    else if (model?.act === "react") await post("react", { message_id: model.message.message_id, emoji_type: "THUMBSUP", operator: $("sender").value || undefined });
  } catch (failed) { hooks.failed(failed); }
}

// Where nothing hovers, a tap on a message shows what can be done with it.
function pick(node) {
  for (const other of document.querySelectorAll(".message.picked")) if (other !== node) other.classList.remove("picked");
  node?.classList.toggle("picked");
}

async function download(held) {
  element("a", { href: await fileUrl(held.file_key), download: held.file_name ?? "file" }).click();
}
