"""Rich text of the platform (``post`` messages, simplified cards) as Markdown.

It arrives as paragraphs of nodes. Whatever a node lacks or has wrong is left out;
nothing here raises on any JSON value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from protocol import foreign

MENTION_ALL: Final = "@all"
_STYLES: Final = (("bold", "**"), ("italic", "*"), ("lineThrough", "~~"))
_FENCE_RUN: Final = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)
_LANGUAGE: Final = re.compile(r"[A-Za-z0-9_+#.-]{1,32}")
_BLOCK_TAGS: Final = frozenset({"hr", "code_block", "md"})
_LOCALES_FIRST: Final = ("zh_cn", "en_us")

Resource = Callable[[str, Mapping[str, Any]], str]
"""``resource(kind, node)``: note an image or video of the message; returns its text form."""
NameOf = Callable[[str], str | None]
"""The name a mention's key, or an open_id, stands for."""


class RichTextReading(Struct, frozen=True):
    """What the nodes need to know of the message they are in."""

    name_of: NameOf
    resource: Resource
    styled: bool = True
    """False leaves bold, italic and the like out."""


def locate_post(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find title and paragraphs: bare as they are received, or below a locale."""
    if isinstance(content.get("content"), list) or isinstance(content.get("title"), str):
        return content
    inner = content.get("post")
    by_locale = inner if isinstance(inner, Mapping) else content
    for locale in (*_LOCALES_FIRST, *by_locale):
        found = by_locale.get(locale)
        if isinstance(found, Mapping) and isinstance(found.get("content"), list):
            return found
    return None


def post_markdown(post: Mapping[str, Any], reading: RichTextReading) -> str:
    title = " ".join(foreign.text(post, "title").split())
    body = paragraphs_markdown(post.get("content"), reading)
    return "\n\n".join(part for part in (f"# {title}" if title else "", body) if part)


def paragraphs_markdown(paragraphs: object, reading: RichTextReading) -> str:
    """Join paragraphs by line breaks, and set rules, code and Markdown apart by blank lines."""
    if not isinstance(paragraphs, list):
        return ""
    pieces: list[tuple[bool, str]] = []
    for paragraph in paragraphs:
        # Inside a card a paragraph of one node may come without its list.
        nodes = paragraph if isinstance(paragraph, list) else [paragraph]
        pieces += _pieces(nodes, reading)
    text = ""
    for at, (is_block, piece) in enumerate(pieces):
        if at:
            text += "\n\n" if is_block or pieces[at - 1][0] else "\n"
        text += piece
    return text.strip("\n")


def _pieces(nodes: list[Any], reading: RichTextReading) -> Iterator[tuple[bool, str]]:
    """Lines of inline nodes, and the blocks between them."""
    line, blocks = "", 0
    for node in nodes:
        if not isinstance(node, Mapping):
            continue
        if foreign.text(node, "tag") not in _BLOCK_TAGS:
            line += _inline(node, reading)
            continue
        if line:
            yield False, line
        yield True, _block(node)
        line, blocks = "", blocks + 1
    if line or not blocks:
        yield False, line


def _block(node: Mapping[str, Any]) -> str:
    text = foreign.text(node, "text")
    match foreign.text(node, "tag"):
        case "hr":
            return "---"
        case "code_block":
            longest = max((len(run) for run in _FENCE_RUN.findall(text)), default=2)
            fence = "`" * max(3, longest + 1)
            language = foreign.text(node, "language").lower()
            opening = fence + (language if _LANGUAGE.fullmatch(language) else "")
            return f"{opening}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"
    return text


def _inline(node: Mapping[str, Any], reading: RichTextReading) -> str:
    text = foreign.text(node, "text")
    match foreign.text(node, "tag"):
        case "text":
            return _styled(text, node, reading)
        case "a":
            href = foreign.text(node, "href")
            if not href or text == href:
                return text or href
            return _styled(f"[{text}]({href})" if text else href, node, reading)
        case "at":
            return _mention(node, reading)
        case "img":
            return reading.resource("image", node)
        case "media":
            return reading.resource("video", node)
        case "emotion":
            return f":{foreign.text(node, 'emoji_type') or 'emoji'}:"
        case "button":
            return f"[button: {text}] "
        case "note":
            return paragraphs_line(node.get("elements"), reading)
        case "":
            return text
        case other:
            return text or f"[{other[:40]}]"


def paragraphs_line(nodes: object, reading: RichTextReading) -> str:
    """The inline nodes of a note, without those that nest again."""
    if not isinstance(nodes, list):
        return ""
    flat = (node for node in nodes if isinstance(node, Mapping) and "elements" not in node)
    return "".join(_inline(node, reading) for node in flat)


def _styled(text: str, node: Mapping[str, Any], reading: RichTextReading) -> str:
    core = text.strip()
    styles = foreign.texts(node.get("style"))
    if not core or not reading.styled:
        return text
    before, after = text[: text.index(core)], text[text.index(core) + len(core) :]
    for style, mark in _STYLES:
        if style in styles:
            core = f"{mark}{core}{mark}"
    if "underline" in styles:
        core = f"<u>{core}</u>"
    return before + core + after


def _mention(node: Mapping[str, Any], reading: RichTextReading) -> str:
    who = foreign.text(node, "user_id") or foreign.text(node, "open_id")
    if who in {"all", "@_all", "@all"}:
        return MENTION_ALL
    name = reading.name_of(who) or foreign.text(node, "user_name") or foreign.text(node, "text")
    return "@" + (name.removeprefix("@") or who.removeprefix("@") or "someone")
