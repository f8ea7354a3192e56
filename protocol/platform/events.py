"""What the platform pushes, from bytes to typed structs.

Two readings of one payload. :func:`read_envelope` takes just what the journal needs,
so that an event is kept although its body is odd. The ``decode_…`` functions read the
bodies larkd acts upon. Both ignore unknown keys and take ``null`` for a missing
optional value, since the platform adds keys and leaves others empty.

Times come as milliseconds in events and microseconds in callbacks, as text; here all
are integers in milliseconds.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
from msgspec import Struct

from protocol.errors import RemoteProtocolError
from protocol.ids import ChatId, ChatType, EventId, MessageId, OpenId
from protocol.platform.comments import message_id_of
from protocol.platform.event_shapes import (
    BODIES,
    CARD_ACTIONS,
    COMMENTS,
    ENVELOPES,
    ID_CHARS_MAX,
    MESSAGES,
    RECALLS,
    Body,
    CardContext,
    Header,
    MentionedId,
    RawEnvelope,
    RawMention,
    decode,
    milliseconds,
)
from protocol.routing.delivery import EventKind

MESSAGE_RECEIVED: Final = "im.message.receive_v1"
MESSAGE_RECALLED: Final = "im.message.recalled_v1"
CARD_ACTION: Final = "card.action.trigger"
COMMENT_ADDED: Final = "drive.notice.comment_add_v1"
_KINDS: Final[dict[str, EventKind]] = {
    MESSAGE_RECEIVED: "message",
    MESSAGE_RECALLED: "recalled",
    CARD_ACTION: "card_action",
    COMMENT_ADDED: "comment",
}


class Envelope(Struct, frozen=True, kw_only=True):
    """What is journaled of an event beside its bytes."""

    event_id: EventId
    event_type: str
    kind: EventKind
    message_key: str | None = None
    """The message id of a received message: the platform asks to de-duplicate by it."""
    chat_id: ChatId | None = None


class Mention(Struct, frozen=True, kw_only=True):
    """Whom the placeholder *key*, such as ``@_user_1``, in a text stands for."""

    key: str
    name: str
    open_id: OpenId | None
    mentioned_type: str | None
    """``user`` or ``bot``; None where the platform does not state it."""


class MessageReceived(Struct, frozen=True, kw_only=True):
    """Somebody wrote in a chat the bot can see. ``content`` is JSON by message type."""

    event_id: EventId
    message_id: MessageId
    chat_id: ChatId
    chat_type: ChatType
    message_type: str
    content: str
    sender_id: OpenId
    """Empty where the sender has none; the rules of access refuse that one by name."""
    sender_type: str
    """``user``, or ``bot`` for another app's bot."""
    mentions: tuple[Mention, ...] = ()
    root_id: MessageId | None = None
    parent_id: MessageId | None = None
    thread_id: str | None = None
    topic: str | None = None
    """``thread_id`` where the topic is a place of its own. No event states that: it depends on
    the group's kind and the configuration."""
    create_time_ms: int | None = None


class MessageRecalled(Struct, frozen=True, kw_only=True):
    event_id: EventId
    message_id: MessageId


class CommentAdded(Struct, frozen=True, kw_only=True):
    """Somebody commented on a document, or replied to a comment."""

    event_id: EventId
    file_type: str
    file_token: str
    comment_id: str
    reply_id: str | None
    """None for the comment itself."""
    sender_id: OpenId
    mentions_bot: bool
    create_time_ms: int | None = None


class CardAction(Struct, frozen=True, kw_only=True):
    """Somebody used a component of a card."""

    event_id: EventId
    operator_id: OpenId
    message_id: MessageId | None
    chat_id: ChatId | None
    value: dict[str, Any]
    """What the component carries; empty where that is no object (ours always are)."""
    form_value: dict[str, Any]


def read_envelope(payload: bytes) -> Envelope:
    """Read what the journal needs. Only the event's id and type have to be there.

    Raises:
        RemoteProtocolError: not JSON, or without them; nothing can be known of it.
    """
    raw = decode(ENVELOPES, payload)
    body = _body_or_default(raw.event)
    if not raw.schema:
        return _read_v1(raw, body)
    header = raw.header or Header()
    event_type = _text(header.event_type, "header.event_type")
    kind = _KINDS.get(event_type, "other")
    message_key, chat_id = None, body.chat_id
    if kind == "message" and body.message is not None:
        message_key, chat_id = body.message.message_id, body.message.chat_id
    elif kind == "comment" and (reply_id := body.reply_id or body.comment_id):
        message_key = message_id_of(reply_id)
    elif body.context is not None:
        chat_id = body.context.open_chat_id
    return Envelope(
        event_id=EventId(_text(header.event_id, "header.event_id")),
        event_type=event_type,
        kind=kind,
        message_key=_text(message_key, "message.message_id") if message_key else None,
        chat_id=ChatId(chat_id) if chat_id else None,
    )


def synthetic_event_id(payload: bytes) -> EventId:
    """Name an event that cannot be read: the same bytes always get the same name."""
    digest = hashlib.blake2b(payload, digest_size=16)
    return EventId(f"unreadable-{digest.hexdigest()}")


def decode_message(payload: bytes) -> MessageReceived:
    """Read an ``im.message.receive_v1``.

    Raises:
        RemoteProtocolError: it lacks what a message must have.
    """
    raw = decode(MESSAGES, payload)
    message, sender = raw.event.message, raw.event.sender
    return MessageReceived(
        event_id=raw.header.event_id,
        message_id=message.message_id,
        chat_id=message.chat_id,
        # A topic group has been seen under a name of its own; it is a group to us.
        chat_type="p2p" if message.chat_type == "p2p" else "group",
        message_type=message.message_type,
        content=message.content or "",
        sender_id=(sender.sender_id and sender.sender_id.open_id) or OpenId(""),
        sender_type=sender.sender_type or "user",
        mentions=tuple(_mention(each) for each in message.mentions or ()),
        root_id=message.root_id or None,
        parent_id=message.parent_id or None,
        thread_id=message.thread_id or None,
        create_time_ms=milliseconds(message.create_time),
    )


def decode_recalled(payload: bytes) -> MessageRecalled:
    """Read an ``im.message.recalled_v1``.

    Raises:
        RemoteProtocolError: it names no message.
    """
    raw = decode(RECALLS, payload)
    return MessageRecalled(
        event_id=raw.header.event_id,
        message_id=raw.event.message_id,
    )


def decode_comment(payload: bytes) -> CommentAdded:
    """Read a ``drive.notice.comment_add_v1``.

    Raises:
        RemoteProtocolError: it does not name who commented where.
    """
    raw = decode(COMMENTS, payload)
    notice = raw.event.notice_meta
    return CommentAdded(
        event_id=raw.header.event_id,
        file_type=notice.file_type,
        file_token=notice.file_token,
        comment_id=raw.event.comment_id,
        reply_id=raw.event.reply_id or None,
        sender_id=notice.from_user_id.open_id,
        mentions_bot=raw.event.is_mentioned is True,
        create_time_ms=milliseconds(raw.event.timestamp),
    )


def decode_card_action(payload: bytes) -> CardAction:
    """Read a ``card.action.trigger``.

    Raises:
        RemoteProtocolError: it does not name who did what.
    """
    raw = decode(CARD_ACTIONS, payload)
    event, action = raw.event, raw.event.action
    context = event.context or CardContext()
    return CardAction(
        event_id=raw.header.event_id,
        operator_id=event.operator.open_id,
        message_id=context.open_message_id or None,
        chat_id=context.open_chat_id or None,
        value=action.value if isinstance(action.value, dict) else {},
        form_value=action.form_value or {},
    )


# ── helpers ─────────────────────────────────────────────────────────────────


def _body_or_default(event: msgspec.Raw) -> Body:
    """Read where an event happened; an odd body is not worth losing the event for."""
    try:
        return decode(BODIES, bytes(event))
    except RemoteProtocolError:
        return Body()


def _read_v1(raw: RawEnvelope, body: Body) -> Envelope:
    """Read the older envelope, which a few event types still come in."""
    if not raw.uuid:
        raise RemoteProtocolError("an event with neither schema nor uuid", code="bad_event")
    return Envelope(
        event_id=EventId(_text(raw.uuid, "uuid")),
        event_type=_text(body.type, "event.type"),
        kind="other",
        chat_id=ChatId(body.chat_id) if body.chat_id else None,
    )


def _text(value: str | None, name: str) -> str:
    if not value:
        raise RemoteProtocolError(f"an event without {name}", code="bad_event")
    if len(value) > ID_CHARS_MAX:
        raise RemoteProtocolError(
            f"{name} of {len(value)} characters; {ID_CHARS_MAX} at most", code="bad_event"
        )
    return value


def _mention(raw: RawMention) -> Mention:
    if isinstance(raw.id, MentionedId):
        open_id = raw.id.open_id
    else:
        open_id = OpenId(raw.id) if raw.id else None
    return Mention(
        key=raw.key,
        name=raw.name or "",
        open_id=open_id or None,
        mentioned_type=raw.mentioned_type,
    )
