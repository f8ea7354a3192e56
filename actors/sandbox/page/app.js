// The chat page: chats on the left, one conversation, and what is written.
import { follow, get, post, Unreachable } from "./api.js";
import { element, setText } from "./dom.js";
import * as composer from "./composer.js";
import { avatar, drawCard, drawAgain, drawConversation, drawMessage, follow as followEnd, setUp as setUpMessages } from "./messages.js";
import { holdWhilePressed, paint } from "./hold.js";
import { offer } from "./scan.js";
import { cards, chats, drawTitle, keep, lastOf, load, markRead, markUnread, messages, t, textOf, time, unreadIn, users, view } from "./store.js";

const $ = (id) => document.getElementById(id);
const TOAST_MS = 4500;
const CALLS_SHOWN = 200;
let chosenCard = null;

// ── the sidebar ─────────────────────────────────────────────────────────────

const rows = new Map(); // chat id → the parts of its row, made once

function rowOf(chat) {
  let row = rows.get(chat.chat_id);
  if (!row) {
    row = { name: element("span", { class: "name" }), when: element("span", { class: "when" }), preview: element("span", { class: "preview" }), unread: element("span", { class: "unread", hidden: true }) };
    row.button = element("button", { type: "button", "data-chat-id": chat.chat_id, onclick: () => choose(chat.chat_id) }, avatar(chat.name, false), row.name, row.when, row.preview, row.unread);
    rows.set(chat.chat_id, row);
    $("chats").append(element("li", {}, row.button));
  }
  return row;
}

function drawChat(chat) {
  const row = rowOf(chat), last = lastOf(chat.chat_id), count = unreadIn(chat.chat_id);
  setText(row.name, chat.name);
  setText(row.when, last ? time(last.create_time) : "");
  setText(row.preview, last ? `${last.sender.type === "app" ? `${last.sender.name}: ` : ""}${textOf(last)}`.slice(0, 80) : "");
  setText(row.unread, count ? String(count) : "");
  row.unread.hidden = !count;
  if (chat.chat_id === view.chat) row.button.setAttribute("aria-current", "true");
  else row.button.removeAttribute("aria-current");
}

function drawChats() {
  for (const [chatId, row] of rows) if (!chats.has(chatId)) { row.button.parentNode.remove(); rows.delete(chatId); }
  for (const chat of chats.values()) drawChat(chat);
}

function choose(chatId, { focus = true } = {}) {
  if (chatId !== view.chat) composer.answer(null, false);
  view.chat = chatId;
  markRead(chatId);
  $("app").classList.remove("list");
  drawHead();
  drawChats();
  drawConversation();
  if (focus && matchMedia("(hover: hover)").matches) $("composer").focus({ preventScroll: true });
}

function drawHead() {
  const chat = chats.get(view.chat);
  if (!chat) return;
  setText($("chat-name"), chat.name);
  setText($("chat-kind"), t(chat.type === "p2p" ? "direct" : chat.topics.includes("_") ? "topicGroup" : "group"));
  $("mention-label").hidden = chat.type === "p2p";
  $("as").hidden = chat.members.length < 2;
  $("compose-head").hidden = $("as").hidden && $("mention-label").hidden;
  const options = chat.members.map((member) => [member, users.get(member)?.name ?? member]);
  if (JSON.stringify(options) !== $("sender").dataset.members) {
    $("sender").dataset.members = JSON.stringify(options);
    $("sender").replaceChildren(...options.map(([member, name]) => element("option", { value: member }, name)));
  }
  drawTitle();
}

// ── notices ────────────────────────────────────────────────

function toast({ type, content, i18n }) {
  const node = element("div", { class: `toast ${["success", "error", "warning"].includes(type) ? type : ""}` }, i18n?.[view.language] ?? content ?? "");
  $("toasts").append(node);
  setTimeout(() => node.remove(), TOAST_MS);
}

function failed(error) {
  toast({ type: "error", content: error instanceof Unreachable ? t(error.reason) : error.message });
}

let link = "connecting"; // or "online", "offline" (the bot), "away", "stranger" (the sandbox)

function drawLink(state = link) {
  link = state;
  $("connection").classList.toggle("on", link === "online");
  setText($("connection-text"), t(link));
  $("banner").hidden = !["away", "stranger"].includes(link);
  setText($("banner"), ["away", "stranger"].includes(link) ? t(link) : "");
}

// ── the inspector ───────────────────────────────────────────────────────────

let calls = [];

async function drawInspector() {
  if ($("inspector").hidden || link === "away" || link === "stranger") return;
  try {
    calls = [...calls, ...await get(`calls?since=${calls.at(-1)?.n ?? 0}`)].slice(-CALLS_SHOWN);
  } catch { return; }
  $("calls").replaceChildren(...calls.toReversed().map((call) => element("li", { class: call.code ? "bad" : "" }, element("span", {}, call.method), element("span", { class: "path", title: call.path }, call.path.replace("/open-apis/", "")), element("span", {}, String(call.code || call.status)), element("span", { class: "dim" }, `${Math.round(call.ms)}ms`))));
  const card = chosenCard && cards.get(chosenCard);
  $("card-json").hidden = !card;
  if (card) setText($("card-json"), JSON.stringify(card.card, null, 2));
}

// ── languages ───────────────────────────────────────────────────────────────

function translate() {
  document.documentElement.lang = view.language === "zh_cn" ? "zh" : "en";
  for (const node of document.querySelectorAll("[data-t]")) setText(node, t(node.dataset.t));
  for (const node of document.querySelectorAll("[data-t-label]")) { node.setAttribute("aria-label", t(node.dataset.tLabel)); if (node.tagName === "BUTTON") node.title = t(node.dataset.tLabel); }
  $("composer").placeholder = t(matchMedia("(max-width: 720px)").matches ? "placeholderShort" : "placeholder");
  setText($("language"), t("other"));
  drawLink();
  drawHead();
  drawChats();
  drawAgain();
}

// ── the feed ────────────────────────────────────────────────────────────────

function changed(event) {
  switch (event.kind) {
    case "user": users.set(event.user.open_id, event.user); break;
    case "chat": chats.set(event.chat.chat_id, event.chat); drawChat(event.chat); break;
    case "message": {
      const { message } = event, fresh = keep(message);
      if (fresh && message.sender.type === "app") markUnread(message.chat_id);
      paint(message.message_id, () => drawMessage(messages.get(message.message_id) ?? message));
      if (chats.has(message.chat_id)) drawChat(chats.get(message.chat_id));
      break;
    }
    case "card": {
      const { card } = event, before = cards.get(card.card_id), chatId = messages.get(card.message_id)?.chat_id;
      cards.set(card.card_id, card);
      paint(card.card_id, () => drawCard(cards.get(card.card_id) ?? card));
      if (before?.streaming && !card.streaming && chatId) markUnread(chatId);
      if (chats.has(chatId)) drawChat(chats.get(chatId));
      if (card.card_id === chosenCard) drawInspector();
      break;
    }
    case "toast": toast(event.toast); break;
    case "connections": drawLink(event.connections ? "online" : "offline"); break;
  }
}

holdWhilePressed($("messages"));
composer.setUp({ failed, sent: followEnd });
setUpMessages({ failed, reply: composer.answer, chosen: (cardId) => { chosenCard = cardId; drawInspector(); } });
follow({
  state(all) {
    load(all);
    calls = [];
    drawLink(all.connections ? "online" : "offline");
    if (view.chat && !chats.has(view.chat)) toast({ content: t("anew") });
    if (!chats.has(view.chat)) view.chat = chats.keys().next().value ?? null;
    for (const card of cards.values()) drawCard(card);
    if (view.chat) choose(view.chat, { focus: document.activeElement === document.body });
    offer({ done: (content) => toast({ type: "success", content }), failed });
  },
  change: changed,
  lost: drawLink,
});

document.addEventListener("visibilitychange", () => { if (!document.hidden && view.chat) { markRead(view.chat); drawChats(); } });
$("language").addEventListener("click", () => {
  view.language = view.language === "zh_cn" ? "en_us" : "zh_cn";
  localStorage.setItem("larkd-sandbox-language", view.language);
  translate();
});
matchMedia("(max-width: 720px)").addEventListener("change", translate);
$("inspect").addEventListener("click", () => { $("inspector").hidden = !$("inspector").hidden; $("inspect").setAttribute("aria-pressed", String(!$("inspector").hidden)); drawInspector(); });
$("inspect-close").addEventListener("click", () => $("inspect").click());
setInterval(drawInspector, 1500);
$("back").addEventListener("click", () => { $("app").classList.add("list"); rows.get(view.chat)?.button.focus(); });
$("new-chat").addEventListener("click", () => { $("new-name").value = ""; $("new-chat-dialog").showModal(); });
$("new-cancel").addEventListener("click", () => $("new-chat-dialog").close());
$("new-chat-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = $("new-name").value.trim();
  if (!name) return;
  $("new-chat-dialog").close();
  const kind = $("new-kind").value, type = kind === "p2p" ? "p2p" : "group";
  try {
    const user = await post("users", { name: type === "group" ? `${name} 1` : name });
    users.set(user.open_id, user);
    const members = type === "group" ? [user.open_id, ...[...users.keys()].slice(0, 2)] : [user.open_id];
    const chat = await post("chats", { type, name, members, topics: kind === "topic" ? "topic_mode" : "allowed" });
    chats.set(chat.chat_id, chat);
    choose(chat.chat_id);
  } catch (error) { failed(error); }
});
translate();
