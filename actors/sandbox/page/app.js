// The chat page: chats on the left, one conversation, and what was typed.
import { follow, get, post } from "./api.js";
import { CardView, rawCard, summary } from "./card.js";
import { element } from "./markdown.js";
import { texts } from "./texts.js";

const $ = (id) => document.getElementById(id);
const users = new Map(), chats = new Map(), messages = new Map(), cards = new Map(), views = new Map(), unread = new Set();
let app = null, current = null, language = navigator.language.startsWith("zh") ? "zh_cn" : "en_us", chosenCard = null;
const t = (key) => texts[language][key];
const EMOJI = { OK: "👌", THUMBSUP: "👍", DONE: "✅", HEART: "❤️", SMILE: "😊", OnIt: "🫡", Get: "👀", CheckMark: "✔️", CrossMark: "❌", Alarm: "⏰", OneSecond: "⏳", ERROR: "⚠️" };

const hue = (name) => `hue-${[...name].reduce((sum, character) => sum + character.codePointAt(0), 0) % 6}`;
const avatar = (name, bot, small) => element("span", { class: `avatar ${bot ? "bot" : hue(name)} ${small ? "small" : ""}`, "aria-hidden": "true" }, bot ? "🤖" : [...name][0]?.toUpperCase() ?? "?");
const time = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

function text(message) {
  if (message.recalled) return t("recalled");
  try {
    const content = JSON.parse(message.content);
    if (message.msg_type === "text") return message.mentions.reduce((said, mention) => said.replaceAll(mention.key, `@${mention.name}`), content.text ?? "");
    if (message.msg_type === "post") return (content.zh_cn ?? content.en_us ?? content).title ?? "[post]";
    return `[${message.msg_type}]`;
  } catch { return message.content; }
}

function preview(chat) {
  const last = [...messages.values()].filter((message) => message.chat_id === chat.chat_id).at(-1);
  if (!last) return ["", ""];
  const card = last.card_id && cards.get(last.card_id);
  const said = card ? summary(card, language) : last.msg_type === "interactive" ? rawCard(last.content)?.body?.elements?.[0]?.content ?? "" : text(last);
  return [`${last.sender.type === "app" ? "🤖 " : ""}${said}`.slice(0, 80), time(last.create_time)];
}

function drawChats() {
  $("chats").replaceChildren(...[...chats.values()].map((chat) => {
    const [said, when] = preview(chat);
    const button = element("button", { type: "button", "data-chat-id": chat.chat_id, "aria-current": chat.chat_id === current ? "true" : null, onclick: () => choose(chat.chat_id) },
      avatar(chat.name, false), element("span", {}, chat.name), element("span", { class: "when" }, when), element("span", { class: "preview" }, said), unread.has(chat.chat_id) ? element("span", { class: "unread" }) : null);
    return element("li", {}, button);
  }));
}

function choose(chatId) {
  current = chatId;
  unread.delete(chatId);
  $("app").classList.remove("list");
  const chat = chats.get(chatId);
  $("chat-name").textContent = chat.name;
  $("chat-kind").textContent = t(chat.type === "p2p" ? "direct" : "group");
  $("mention-label").hidden = chat.type === "p2p";
  $("sender").replaceChildren(...chat.members.map((member) => element("option", { value: member }, users.get(member)?.name ?? member)));
  drawChats();
  drawMessages();
  $("composer").focus();
}

const pinned = () => { const box = $("messages"); return box.scrollHeight - box.scrollTop - box.clientHeight < 60; };
const pin = (was) => { if (was) $("messages").scrollTop = $("messages").scrollHeight; };

function drawMessages() {
  const shown = [...messages.values()].filter((message) => message.chat_id === current);
  const empty = element("div", { class: "empty" }, element("b", {}, t("emptyTitle")), t("empty"));
  $("messages").replaceChildren(...(shown.length ? shown.map(messageNode) : [empty]));
  pin(true);
}

function drawMessage(message) {
  if (message.chat_id !== current) { if (message.sender.type === "app") unread.add(message.chat_id); return; }
  const was = pinned();
  const old = document.querySelector(`[data-message-id="${CSS.escape(message.message_id)}"]`);
  const node = messageNode(message);
  if (old) old.replaceWith(node);
  else { $("messages").querySelector(".empty")?.remove(); $("messages").append(node); }
  pin(was);
}

function messageNode(message) {
  const bot = message.sender.type === "app";
  const parent = message.parent_id && messages.get(message.parent_id);
  const body = element("div", { class: "body" },
    element("div", { class: "who" }, `${message.sender.name} · ${time(message.create_time)}`),
    parent ? element("div", { class: "quote" }, `${t("replyTo")} ${parent.sender.name}: ${text(parent).slice(0, 80)}`) : null,
    content(message), reactions(message));
  return element("div", { class: `message ${bot ? "" : "mine"} ${message.recalled ? "recalled" : ""}`, "data-message-id": message.message_id }, avatar(message.sender.name, bot, true), body);
}

function content(message) {
  const entity = !message.recalled && message.card_id && cards.get(message.card_id);
  if (entity) return viewOf(entity).node;
  const raw = !message.recalled && message.msg_type === "interactive" && rawCard(message.content);
  if (raw) {
    const view = new CardView(message.message_id, options());
    view.update({ card: raw, streaming: false });
    return view.node;
  }
  return element("div", { class: "bubble" }, text(message));
}

function reactions(message) {
  if (!message.reactions.length) return null;
  return element("div", { class: "reactions" }, ...message.reactions.map((reaction) => reaction.emoji_type === "Typing"
    ? element("span", { class: "reaction typing", title: "Typing" }, element("i"), element("i"), element("i"))
    : element("span", { class: "reaction", title: reaction.emoji_type }, EMOJI[reaction.emoji_type] ?? reaction.emoji_type)));
}

function options() {
  return { language: () => language, press, chosen: (cardId) => { chosenCard = cardId; drawInspector(); } };
}

function viewOf(card) {
  let view = views.get(card.card_id);
  if (!view) {
    view = new CardView(card.card_id, options());
    let was = true;
    view.onTyped = () => { pin(was); was = pinned(); };
    views.set(card.card_id, view);
    view.update(card);
  }
  return view;
}

function drawCard(card) {
  const was = pinned();
  viewOf(card).update(card);
  pin(was);
  if (card.card_id === chosenCard) drawInspector();
}

async function press(cardId, value) {
  try {
    const answer = await post("click", { [cards.has(cardId) ? "card_id" : "message_id"]: cardId, value, operator: $("sender").value || undefined });
    if (answer.code) toast({ type: "error", content: `${answer.code === 200341 ? t("timeout") : t("failed")} (${answer.code})` });
  } catch (failed) { toast({ type: "error", content: failed.message }); }
}

function toast({ type, content: said, i18n }) {
  const node = element("div", { class: `toast ${["success", "error", "warning"].includes(type) ? type : ""}` }, i18n?.[language] ?? said ?? "");
  $("toasts").append(node);
  setTimeout(() => node.remove(), 3500);
}

let connections = 0;
function connected(count) {
  connections = count;
  $("connection").classList.toggle("on", count > 0);
  $("connection-text").textContent = t(count > 0 ? "online" : "offline");
}

async function drawInspector() {
  if ($("inspector").hidden) return;
  const calls = (await get("calls")).slice(-200).reverse();
  $("calls").replaceChildren(...calls.map((call) => element("li", { class: call.code ? "bad" : "" }, element("span", {}, call.method), element("span", { class: "path", title: call.path }, call.path.replace("/open-apis/", "")), element("span", {}, String(call.code || call.status)), element("span", { class: "dim" }, `${Math.round(call.ms)}ms`))));
  const card = chosenCard && cards.get(chosenCard);
  $("card-json").hidden = !card;
  if (card) $("card-json").textContent = JSON.stringify(card.card, null, 2);
}

function translate() {
  document.documentElement.lang = language === "zh_cn" ? "zh" : "en";
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-title]")) node.title = t(node.dataset.tTitle);
  for (const node of document.querySelectorAll("[data-t-placeholder]")) node.placeholder = t(node.dataset.tPlaceholder);
  $("language").textContent = t("other");
  connected(connections);
  for (const view of views.values()) if (view.card) view.update(view.card);
}

follow({
  state(all) {
    app = all.app;
    for (const [map, list, key] of [[users, all.users, "open_id"], [chats, all.chats, "chat_id"], [messages, all.messages, "message_id"], [cards, all.cards, "card_id"]]) {
      map.clear();
      for (const one of list) map.set(one[key], one);
    }
    connected(all.connections);
    for (const card of cards.values()) viewOf(card).update(card);
    if (!chats.has(current)) current = chats.keys().next().value ?? null;
    if (current) choose(current);
  },
  change(event) {
    switch (event.kind) {
      case "user": users.set(event.user.open_id, event.user); break;
      case "chat": chats.set(event.chat.chat_id, event.chat); drawChats(); break;
      case "message": messages.set(event.message.message_id, event.message); drawMessage(event.message); drawChats(); break;
      case "card": {
        const fresh = !cards.has(event.card.card_id);
        cards.set(event.card.card_id, event.card);
        drawCard(event.card);
        const carrier = fresh && messages.get(event.card.message_id);
        if (carrier) drawMessage(carrier);
        drawChats();
        break;
      }
      case "toast": toast(event.toast); break;
      case "connections": connected(event.connections); break;
    }
  },
  lost() {
    $("connection").classList.remove("on");
    $("connection-text").textContent = t("away");
  },
});

$("compose").addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = $("composer").value;
  if (!said.trim() || !current) return;
  $("composer").value = "";
  grow();
  try {
    await post("send", { chat_id: current, sender: $("sender").value || undefined, text: said, mention_bot: chats.get(current).type === "group" && $("mention").checked });
    pin(true);
  } catch (failed) { toast({ type: "error", content: failed.message }); $("composer").value = said; }
});
$("composer").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); $("compose").requestSubmit(); }
});
function grow() { const box = $("composer"); box.rows = Math.min(7, box.value.split("\n").length); }
$("composer").addEventListener("input", grow);
$("language").addEventListener("click", () => { language = language === "zh_cn" ? "en_us" : "zh_cn"; translate(); drawChats(); if (current) choose(current); });
$("inspect").addEventListener("click", () => { $("inspector").hidden = !$("inspector").hidden; $("inspect").setAttribute("aria-pressed", String(!$("inspector").hidden)); drawInspector(); });
$("inspect-close").addEventListener("click", () => $("inspect").click());
setInterval(drawInspector, 1500);
$("back").addEventListener("click", () => $("app").classList.add("list"));
$("new-chat").addEventListener("click", () => { $("new-name").value = ""; $("new-chat-dialog").showModal(); });
$("new-chat-dialog").addEventListener("close", async () => {
  const name = $("new-name").value.trim();
  if ($("new-chat-dialog").returnValue !== "ok" || !name) return;
  const kind = $("new-kind").value;
  const user = await post("users", { name: kind === "group" ? `${name} 1` : name });
  users.set(user.open_id, user);
  const members = kind === "group" ? [user.open_id, ...[...users.keys()].slice(0, 2)] : [user.open_id];
  const chat = await post("chats", { type: kind, name, members });
  chats.set(chat.chat_id, chat);
  choose(chat.chat_id);
});
translate();
