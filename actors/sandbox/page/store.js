// Everything the page knows, and the few things derived from it.
import { firstText, rawCard, summary } from "./card.js";
import { texts } from "./texts.js";

export const users = new Map(), chats = new Map(), messages = new Map(), cards = new Map();
const unread = new Map(); // chat id → how many messages and ended cards
const last = new Map(); // chat id → the id of its newest message

const kept = localStorage.getItem("larkd-sandbox-language");
export const view = { language: kept ?? (navigator.language.startsWith("zh") ? "zh_cn" : "en_us"), chat: null, replyTo: null, inTopic: false };

export const t = (key) => texts[view.language][key];
export const time = (ms) => new Date(ms).toLocaleTimeString(view.language === "zh_cn" ? "zh-CN" : "en-GB", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export function load(state) {
  for (const [map, list, key] of [[users, state.users, "open_id"], [chats, state.chats, "chat_id"], [messages, state.messages, "message_id"], [cards, state.cards, "card_id"]]) {
    map.clear();
    for (const one of list) map.set(one[key], one);
  }
  last.clear();
  for (const message of messages.values()) last.set(message.chat_id, message.message_id);
}

// Keep a message; return whether it is a new one.
export function keep(message) {
  const fresh = !messages.has(message.message_id);
  messages.set(message.message_id, message);
  if (fresh) last.set(message.chat_id, message.message_id);
  return fresh;
}

// ── unread ──────────────────────────────────────────────────────────────────

export function markUnread(chatId) {
  if (chatId === view.chat && !document.hidden) return;
  unread.set(chatId, (unread.get(chatId) ?? 0) + 1);
  drawTitle();
}

export function markRead(chatId) {
  unread.delete(chatId);
  drawTitle();
}

export const unreadIn = (chatId) => unread.get(chatId) ?? 0;

export function drawTitle() {
  const count = [...unread.values()].reduce((sum, one) => sum + one, 0);
  const chat = chats.get(view.chat);
  document.title = `${count ? `(${count}) ` : ""}${chat ? `${chat.name} · ` : ""}larkd sandbox`;
}

// ── what a message reads as, in one line ────────────────────────────────────

export function parsed(message) {
  try { return JSON.parse(message.content); } catch { return {}; }
}

const plain = (text, message) => (message.mentions ?? []).reduce((found, mention) => found.replaceAll(mention.key, `@${mention.name}`), text)
  .replace(/<at user_id="([^"]*)">([^<]*)<\/at>/g, (_, id, name) => `@${name || users.get(id)?.name || id}`);

export function textOf(message) {
  if (message.recalled) return t("recalled");
  const content = parsed(message);
  switch (message.msg_type) {
    case "text": return plain(content.text ?? "", message);
    case "post": {
      const post = content.zh_cn ?? content.en_us ?? content;
      const nodes = (post.content ?? []).flat().map((node) => node.text ?? "").join(" ");
      return [post.title, nodes].filter(Boolean).join(" · ");
    }
    case "image": return `[${t("image")}]`;
    case "audio": return `[${t("voice")}]`;
    case "file": case "media": return `[${t("file")}] ${content.file_name ?? ""}`;
    case "interactive": {
      const card = cards.get(message.card_id);
      const shown = card ? summary(card, view.language) : firstText(rawCard(message.content)?.body?.elements, view.language);
      return shown.replace(/\*\*|`/g, "");
    }
    default: return `[${message.msg_type}]`;
  }
}

export const lastOf = (chatId) => messages.get(last.get(chatId));
