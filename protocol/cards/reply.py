"""Messages outside of turns: Markdown as the content of interactive messages."""

from __future__ import annotations

import msgspec

from protocol.cards.answer import AnswerText


def message_card(text: str, footer: str = "") -> str:
    """Return one Markdown text, and a small line below it, as an interactive message's content."""
    elements = [{"tag": "markdown", "content": text}]
    if footer:
        elements.append({"tag": "markdown", "text_size": "notation", "content": footer})
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
