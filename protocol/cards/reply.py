"""Messages outside of turns: Markdown as the content of interactive messages."""

from __future__ import annotations

import msgspec

from protocol.cards.answer import AnswerText
from protocol.cards.elements import both
from protocol.strings import Language, Text


def message_card(text: str | Text, footer: Text | None = None, language: Language = "en") -> str:
    """Return one Markdown text, and a small line below it, as an interactive message's content.

    Each reader has them in their own language; *language* is for clients that take but one.
    """
    text = Text(text, text) if isinstance(text, str) else text
    elements = [both({"tag": "markdown"}, text, language)]
    if footer is not None:
        elements.append(both({"tag": "markdown", "text_size": "notation"}, footer, language))
    card = {
        "schema": "2.0",
        "config": {"update_multi": True},
        "body": {"elements": elements},
    }
    return msgspec.json.encode(card).decode()


def split(text: str) -> tuple[str, ...]:
    """Cut *text* into parts that fit a message each; whole, and code as it was."""
    answer = AnswerText()
    answer.feed(text)
    answer.finish()
    parts = (*answer.sealed, answer.current)
    return tuple(part for part in parts if part.strip())
