"""Comments of documents as chats: so that a comment is a message like any other.

The thread of one comment is a chat, whose id holds where it is; a reply in it is a
message. What is sent there goes as a reply to the comment, as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from protocol import foreign
from protocol.ids import ChatId, MessageId

KIND: Final = "doc_comment"
ELEMENT_CHARACTERS_MAX: Final = 1_000
ELEMENTS_MAX: Final = 100
"""Of one reply; longer texts are cut there, which a page of text is not."""
_CHAT: Final = re.compile(r"doc:([a-z]{1,16}):([A-Za-z0-9_-]{1,128}):([0-9]{1,32})")
_MESSAGE_PREFIX: Final = "doc-reply:"


class CommentPlace(Struct, frozen=True):
    """Where a comment is."""

    file_type: str
    """``docx``, ``doc``, ``sheet``, ``file`` or ``slides``."""
    file_token: str
    comment_id: str

    @property
    def chat_id(self) -> ChatId:
        return ChatId(f"doc:{self.file_type}:{self.file_token}:{self.comment_id}")


def place_of(chat_id: str | None) -> CommentPlace | None:
    """Return where a chat is, if it is the thread of a comment."""
    found = _CHAT.fullmatch(chat_id or "")
    return None if found is None else CommentPlace(found[1], found[2], found[3])


def message_id_of(reply_id: str) -> MessageId:
    return MessageId(f"{_MESSAGE_PREFIX}{reply_id}")


def is_comment(message_id: str) -> bool:
    return message_id.startswith(_MESSAGE_PREFIX)


def reply_body(content_json: str) -> dict[str, Any]:
    """Return what is sent to the comment for the content of a message."""
    text = _text(msgspec.json.decode(content_json))
    pieces = [
        text[at : at + ELEMENT_CHARACTERS_MAX] for at in range(0, len(text), ELEMENT_CHARACTERS_MAX)
    ]
    elements = [{"type": "text_run", "text_run": {"text": piece}} for piece in pieces or [" "]]
    return {"content": {"elements": elements[:ELEMENTS_MAX]}}


def _text(content: Mapping[str, Any]) -> str:
    if isinstance(content.get("text"), str):
        return str(content["text"])
    elements = content.get("body", {}).get("elements", [])
    return "\n".join(foreign.texts([one.get("content") for one in elements]))


def markdown(elements: object) -> str:
    """Return a comment's elements as Markdown."""
    parts: list[str] = []
    for one in foreign.items(elements):
        match one:
            case {"type": "text_run", "text_run": {"text": str(text)}}:
                parts.append(text)
            case {"type": "docs_link", "docs_link": {"url": str(url)}}:
                parts.append(url)
            case {"type": "person", "person": {"user_id": str(user_id)}}:
                parts.append(f"@{user_id}")
    return "".join(parts).strip()
