"""The text of a card, as somebody who quotes it means it: its words, without its controls.

Reads card JSON 1.0 and 2.0 as it was sent (``card_msg_content_type=user_card_content``). Left
out are folded panels, notes below the text (``text_size: notation``) and buttons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from protocol import foreign

_TEXTS: Final = frozenset({"markdown", "plain_text", "lark_md"})
_CONTAINERS: Final = ("elements", "columns", "fields")
_LEFT_OUT: Final = frozenset({"collapsible_panel", "button", "action", "note"})
_DEPTH_MAX: Final = 8
"""The platform nests no card deeper."""


def is_card_json(card: Mapping[str, Any]) -> bool:
    """Whether it is a card as it was sent, and not the short form that events have."""
    return isinstance(card.get("body"), Mapping) or isinstance(card.get("header"), Mapping)


def card_text(card: Mapping[str, Any]) -> str:
    """Return title and text as Markdown, a blank line between parts; empty where it has none."""
    body = card.get("body")
    within = body if isinstance(body, Mapping) else card
    parts = [_title(card), *_texts(within, _DEPTH_MAX)]
    return "\n\n".join(part for part in parts if part)


def _title(card: Mapping[str, Any]) -> str:
    title = foreign.mapping(foreign.mapping(card.get("header")).get("title"))
    content = foreign.text(title, "content")
    return f"**{' '.join(content.split())}**" if content else ""


def _texts(within: Mapping[str, Any], depth: int) -> Iterator[str]:
    for key in _CONTAINERS:
        for element in foreign.mappings(within.get(key)) if depth else ():
            if element.get("tag") not in _LEFT_OUT:
                yield from _element(element, depth)


def _element(element: Mapping[str, Any], depth: int) -> Iterator[str]:
    if element.get("text_size") == "notation":
        return
    content = element.get("content")
    if element.get("tag") in _TEXTS and isinstance(content, str):
        yield content.strip()
    text = element.get("text")
    if isinstance(text, Mapping):
        yield from _element(text, depth)
    yield from _texts(element, depth - 1)
