"""Elements of cards: texts in both languages, panels, and blocks of text that is not ours."""

from __future__ import annotations

import re
from typing import Any, Final

from protocol.cards.answer import json_bytes, storable
from protocol.quoted import AT_TAG
from protocol.strings import Language, Text

Element = dict[str, Any]

FENCE_TICKS_MIN: Final = 3
_TICKS: Final = re.compile("`{3,}")


def both(node: Element, text: Text, language: Language) -> Element:
    """Give *node* a text in both languages; *language* is for clients that take but one."""
    shown: Element = {**node, "content": text.speak(language)}
    if text.en != text.zh:
        shown["i18n_content"] = {"en_us": text.en, "zh_cn": text.zh}
    return shown


def in_both(node: Element, text: Text) -> Element:
    """Give *node* a text in both languages, English for clients that take but one."""
    return {**both(node, text, "en"), "i18n_content": {"en_us": text.en, "zh_cn": text.zh}}


def notation(content: str, element_id: str) -> Element:
    """Return small markdown."""
    return {
        "tag": "markdown",
        "element_id": element_id,
        "text_size": "notation",
        "content": content,
    }


def panel(element_id: str, title: Element, elements: list[Element], *, expanded: bool) -> Element:
    """Return a collapsible panel; *title* is its plain text."""
    return {
        "tag": "collapsible_panel",
        "element_id": element_id,
        "expanded": expanded,
        "header": {"title": title},
        "border": {"color": "grey", "corner_radius": "5px"},
        "elements": elements,
    }


def fenced(text: str, info: str = "") -> str:
    """Return *text* as a code block that it can't leave (CommonMark 0.31, section 4.5)."""
    longest = max((len(run) for run in _TICKS.findall(text)), default=FENCE_TICKS_MIN - 1)
    fence = "`" * (longest + 1)
    return f"{fence}{info}\n{text}\n{fence}"


def latest(text: str, size: int) -> str:
    """Return the end of *text* that fits into *size* bytes, from a line's start if it can."""
    kept = storable(text[-size:])
    while json_bytes(kept) > size:
        kept = kept[-(len(kept) * 4 // 5) :]
    if len(kept) >= len(text):
        return kept
    return "…\n" + (kept.partition("\n")[2] or kept)


def harmless(text: str) -> str:
    """Return reasoning as it came, but that it mentions nobody and draws no picture."""
    return AT_TAG.sub("&#60;", text).replace("![", "[")
