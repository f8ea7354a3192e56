"""Prompts as the journal keeps them, and as versions before kept them."""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.ids import ChatId, ChatType, MessageId, OpenId
from protocol.routing.delivery import Prompt
from protocol.wire.messages import Attachment


class _Older(msgspec.Struct, frozen=True, kw_only=True):
    """Of 0.1.0 and before: what is typed now was text in ``meta``."""

    chat_id: ChatId
    message_id: MessageId
    sender_id: OpenId
    chat_type: ChatType
    content: str
    meta: dict[str, str]
    attachments: tuple[Attachment, ...] = ()
    topic: str | None = None


_TYPED: Final = frozenset(
    {
        "kind",
        "account",
        "chat_id",
        "message_id",
        "chat_type",
        "sender_id",
        "sender_role",
        "create_time",
        "thread_id",
        "parent_id",
        "root_id",
    }
)
_decode = msgspec.msgpack.Decoder(Prompt).decode
_decode_older = msgspec.msgpack.Decoder(_Older).decode


def decode_prompt(blob: bytes) -> Prompt:
    """Read a prompt.

    Raises:
        msgspec.MsgspecError, UnicodeError, TypeError: the row is damaged.
    """
    try:
        return _decode(blob)
    except msgspec.ValidationError:
        return _from_older(_decode_older(blob))


def _from_older(older: _Older) -> Prompt:
    meta = older.meta
    created = meta.get("create_time", "")
    return Prompt(
        kind=meta.get("kind", "message"),
        chat_id=older.chat_id,
        message_id=older.message_id,
        sender_id=older.sender_id,
        chat_type=older.chat_type,
        content=older.content,
        by_admin=meta.get("sender_role") == "admin",
        create_time_ms=int(created) if created.isdecimal() else None,
        thread_id=meta.get("thread_id"),
        parent_id=_message_id(meta.get("parent_id")),
        root_id=_message_id(meta.get("root_id")),
        details={key: value for key, value in meta.items() if key not in _TYPED},
        attachments=older.attachments,
        topic=older.topic,
    )


def _message_id(text: str | None) -> MessageId | None:
    return None if text is None else MessageId(text)
