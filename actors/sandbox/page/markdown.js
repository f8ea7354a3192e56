// Markdown as the platform's cards take it, built as DOM nodes. Text never becomes markup:
// no string of the outside is ever parsed as HTML.

import { element } from "./dom.js";
import { users } from "./store.js";

const COLOURS = new Set(["red", "green", "grey", "blue", "orange"]);
const ENTITIES = { "&#60;": "<", "&#62;": ">", "&#42;": "*", "&#96;": "`", "&#95;": "_", "&sim;": "~", "&#91;": "[", "&#93;": "]", "&#33;": "!", "&#124;": "|", "&emsp;": "\u2003", "&ensp;": "\u2002", "&nbsp;": "\u00a0", "&amp;": "&", "&lt;": "<", "&gt;": ">" };
const decode = (text) => text.replace(/&(?:#\d+|[a-z]+);/g, (found) => ENTITIES[found] ?? found);

const INLINE = [
  [/^(`+)(?!`)([\s\S]*?[^`])\1(?!`)/, (m) => element("code", {}, m[2].trim() === "" ? m[2] : m[2].replace(/^ (.*) $/, "$1"))],
  [/^\*\*([^\s*][\s\S]*?)\*\*(?!\*)/, (m) => element("strong", {}, ...inline(m[1]))],
  [/^__([^\s_][\s\S]*?)__/, (m) => element("strong", {}, ...inline(m[1]))],
  [/^~~([^\s~][\s\S]*?)~~/, (m) => element("del", {}, ...inline(m[1]))],
  [/^\*([^\s*][^*]*?)\*/, (m) => element("em", {}, ...inline(m[1]))],
  [/^_([^\s_](?:[^_]*[^\s_])?)_(?![A-Za-z0-9])/, (m) => element("em", {}, ...inline(m[1]))],
  [/^!\[([^\]\n]*)\]\(([^)\s]+)\)/, (m) => picture(m[2], m[1])],
  [/^\[([^\]\n]+)\]\((https?:\/\/[^)\s]+)\)/, (m) => element("a", { href: m[2], rel: "noopener noreferrer", target: "_blank" }, ...inline(m[1]))],
  [/^<font color=['"]?([a-z]+)['"]?>([\s\S]*?)<\/font>/, (m) => element("span", { class: COLOURS.has(m[1]) ? `fc-${m[1]}` : "" }, ...inline(m[2]))],
  [/^<at (?:id|user_id)=['"]?([^'">\s]+)['"]?>([\s\S]*?)<\/at>/, (m) => element("span", { class: "at" }, `@${m[2] || users.get(m[1])?.name || m[1]}`)],
  [/^<br\s*\/?>/, () => element("br")],
  [/^(https?:\/\/[^\s<>)\]]+)/, (m) => element("a", { href: m[1], rel: "noopener noreferrer", target: "_blank" }, m[1])],
];

// An uploaded picture, by its key; other addresses are no pictures on the platform.
export function picture(key, alt) {
  if (!/^img_\w+$/.test(key)) return element("span", { class: "notation" }, `[${alt || key}]`);
  return element("img", { class: "picture", "data-file": key, alt: alt || "" });
}

// Plain text, with its addresses as links.
export function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"'（）。，；]+[^\s<>"'（）。，；.,;:!?)\]])/).map((piece, at) => at % 2 ? element("a", { href: piece, rel: "noopener noreferrer", target: "_blank" }, piece) : piece);
}

export function inline(text) {
  const nodes = [];
  let plain = "";
  const flush = () => { if (plain) nodes.push(decode(plain)); plain = ""; };
  let at = 0;
  while (at < text.length) {
    const rest = text.slice(at, at + 4000);
    let found = null;
    if ("`*_~![<h".includes(text[at]) && !(text[at] === "_" && /\w$/.test(plain)) && !(text[at] === "h" && /\w$/.test(plain))) {
      for (const [pattern, make] of INLINE) {
        const match = pattern.exec(rest);
        if (match) { found = [match, make]; break; }
      }
    }
    if (found) { flush(); nodes.push(found[1](found[0])); at += found[0][0].length; continue; }
    if (text[at] === "\n") { flush(); nodes.push(element("br")); } else plain += text[at];
    at += 1;
  }
  flush();
  return nodes;
}

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const LIST = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const RULE = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?\s*$/;

export function markdown(text) {
  const root = element("div", { class: "md" });
  const lines = text.split("\n");
  let at = 0;
  while (at < lines.length) at = block(lines, at, root);
  return root;
}

function block(lines, at, root) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) {
    const code = [];
    for (at += 1; at < lines.length && !(lines[at].trim().startsWith(fence[1]) && lines[at].trim().replaceAll(fence[1][0], "") === ""); at += 1) code.push(lines[at]);
    root.append(element("pre", { "data-language": fence[2].trim() || null }, element("code", {}, code.join("\n"))));
    return at + 1;
  }
  if (!line.trim()) return at + 1;
  const heading = /^ {0,3}(#{1,6})\s+(.*)$/.exec(line);
  if (heading) { root.append(element(`h${heading[1].length}`, {}, ...inline(heading[2]))); return at + 1; }
  if (/^ {0,3}([-*_])(\s*\1){2,}\s*$/.test(line) || /^<hr\s*\/?>\s*$/.test(line)) { root.append(element("hr")); return at + 1; }
  if (/^ {0,3}>/.test(line)) {
    const quoted = [];
    for (; at < lines.length && /^ {0,3}>/.test(lines[at]); at += 1) quoted.push(lines[at].replace(/^ {0,3}> ?/, ""));
    const inner = markdown(quoted.join("\n"));
    root.append(element("blockquote", {}, ...inner.childNodes));
    return at;
  }
  if (line.includes("|") && at + 1 < lines.length && RULE.test(lines[at + 1])) return table(lines, at, root);
  if (LIST.test(line)) return list(lines, at, root);
  const paragraph = [line];
  for (at += 1; at < lines.length && lines[at].trim() && !FENCE.test(lines[at]) && !/^ {0,3}(#{1,6}\s|>)/.test(lines[at]) && !LIST.test(lines[at]) && !(lines[at + 1] !== undefined && lines[at].includes("|") && RULE.test(lines[at + 1])); at += 1) paragraph.push(lines[at]);
  root.append(element("p", {}, ...inline(paragraph.join("\n"))));
  return at;
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

function table(lines, at, root) {
  const head = element("tr", {}, ...cells(lines[at]).map((cell) => element("th", {}, ...inline(cell))));
  const body = element("tbody");
  for (at += 2; at < lines.length && lines[at].includes("|"); at += 1) {
    body.append(element("tr", {}, ...cells(lines[at]).map((cell) => element("td", {}, ...inline(cell)))));
  }
  root.append(element("div", { class: "scroll", tabindex: "0" }, element("table", {}, element("thead", {}, head), body)));
  return at;
}

function list(lines, at, root) {
  const first = LIST.exec(lines[at]);
  const indent = first[1].length;
  const ordered = /\d/.test(first[2]);
  const node = element(ordered ? "ol" : "ul", ordered ? { start: String(parseInt(first[2], 10)) } : {});
  while (at < lines.length) {
    const item = LIST.exec(lines[at]);
    if (!item || item[1].length < indent) break;
    if (item[1].length > indent && node.lastChild) { at = list(lines, at, node.lastChild); continue; }
    const parts = [item[3]];
    for (at += 1; at < lines.length && lines[at].trim() && !LIST.test(lines[at]) && /^\s{2,}/.test(lines[at]); at += 1) parts.push(lines[at].trim());
    node.append(element("li", {}, ...inline(parts.join("\n"))));
    while (at + 1 < lines.length && !lines[at].trim() && LIST.test(lines[at + 1])) at += 1;
  }
  root.append(node);
  return at;
}
