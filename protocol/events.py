"""What the platform pushes, from bytes to typed structs.

Two readings of one payload. :func:`read_envelope` takes just what the journal needs,
so that an event is kept although its body is odd. The ``decode_…`` functions read the
bodies the house acts upon. Both ignore unknown keys and take ``null`` for a missing
optional value, since the platform adds keys and leaves others empty.

Times come as milliseconds in events and microseconds in callbacks, as text; here all
are integers in milliseconds.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from protocol.delivery import EventKind
from protocol.errors import RemoteProtocolError
from protocol.ids import ChatId, EventId, MessageId, OpenId

MESSAGE_RECEIVED: Final = "im.message.receive_v1"
MESSAGE_RECALLED: Final = "im.message.recalled_v1"
CARD_ACTION: Final = "card.action.trigger"
_KINDS: Final[dict[str, EventKind]] = {
    MESSAGE_RECEIVED: "message",
    MESSAGE_RECALLED: "recalled",
    CARD_ACTION: "card_action",
}

ID_CHARS_MAX: Final = 256
"""The platform's ids are 20 to 70 characters; ours to index, so they have an end."""
_MICROSECONDS_FROM: Final = 10**14
"""As milliseconds this is the year 5138, so what is above counts microseconds."""


class Envelope(Struct, frozen=True, kw_only=True):
    """What is journaled of an event beside its bytes."""

    event_id: EventId
    event_type: str
    kind: EventKind
    message_key: str | None = None
    """The message id of a received message: the platform says to de-duplicate by it."""
    chat_id: ChatId | None = None
    create_time_ms: int | None = None
    app_id: str | None = None


class Mention(Struct, frozen=True, kw_only=True):
    """Whom the placeholder *key*, such as ``@_user_1``, in a text stands for."""

    key: str
    name: str
    open_id: OpenId | None
    mentioned_type: str | None
    """``user`` or ``bot``; None where the platform does not say."""


class MessageReceived(Struct, frozen=True, kw_only=True):
    """Somebody wrote in a chat the bot can see. ``content`` is JSON by message type."""

    event_id: EventId
    message_id: MessageId
    chat_id: ChatId
    chat_type: Literal["p2p", "group"]
    message_type: str
    content: str
    sender_id: OpenId
    sender_type: str
    """``user``, or ``bot`` for another app's bot."""
    mentions: tuple[Mention, ...] = ()
    root_id: MessageId | None = None
    parent_id: MessageId | None = None
    thread_id: str | None = None
    create_time_ms: int | None = None


class MessageRecalled(Struct, frozen=True, kw_only=True):
    event_id: EventId
    message_id: MessageId
    chat_id: ChatId | None
    recall_type: str | None
    recall_time_ms: int | None


class CardAction(Struct, frozen=True, kw_only=True):
    """Somebody used a component of a card."""

    event_id: EventId
    operator_id: OpenId
    token: str | None
    """Updates the card, twice within 30 minutes."""
    message_id: MessageId | None
    chat_id: ChatId | None
    tag: str
    name: str | None
    value: dict[str, Any]
    """What the component carries; empty where that is no object (ours always are)."""
    form_value: dict[str, Any]
    input_value: str | None
    option: str | None
    options: tuple[str, ...]
    checked: bool | None


def read_envelope(payload: bytes) -> Envelope:
    """Read what the journal needs. Only the event's id and type have to be there.

    Raises:
        RemoteProtocolError: not JSON, or without them; nothing can be known of it.
    """
    raw = _decode(_envelopes, payload)
    body = _body_or_default(raw.event)
    if not raw.schema:
        return _read_v1(raw, body)
    header = raw.header or _Header()
    event_type = _text(header.event_type, "header.event_type")
    kind = _KINDS.get(event_type, "other")
    message_key, chat_id = None, body.chat_id
    if kind == "message" and body.message is not None:
        message_key, chat_id = body.message.message_id, body.message.chat_id
    elif body.context is not None:
        chat_id = body.context.open_chat_id
    return Envelope(
        event_id=EventId(_text(header.event_id, "header.event_id")),
        event_type=event_type,
        kind=kind,
        message_key=_text(message_key, "message.message_id") if message_key else None,
        chat_id=ChatId(chat_id) if chat_id else None,
        create_time_ms=_milliseconds(header.create_time),
        app_id=header.app_id,
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
    raw = _decode(_messages, payload)
    message, sender = raw.event.message, raw.event.sender
    return MessageReceived(
        event_id=raw.header.event_id,
        message_id=message.message_id,
        chat_id=message.chat_id,
        # A topic group has been seen under a name of its own; it is a group to us.
        chat_type="p2p" if message.chat_type == "p2p" else "group",
        message_type=message.message_type,
        content=message.content or "",
        sender_id=sender.sender_id.open_id,
        sender_type=sender.sender_type or "user",
        mentions=tuple(_mention(each) for each in message.mentions or ()),
        root_id=message.root_id or None,
        parent_id=message.parent_id or None,
        thread_id=message.thread_id or None,
        create_time_ms=_milliseconds(message.create_time),
    )


def decode_recalled(payload: bytes) -> MessageRecalled:
    """Read an ``im.message.recalled_v1``.

    Raises:
        RemoteProtocolError: it does not say which message.
    """
    raw = _decode(_recalls, payload)
    return MessageRecalled(
        event_id=raw.header.event_id,
        message_id=raw.event.message_id,
        chat_id=raw.event.chat_id or None,
        recall_type=raw.event.recall_type,
        recall_time_ms=_milliseconds(raw.event.recall_time),
    )


def decode_card_action(payload: bytes) -> CardAction:
    """Read a ``card.action.trigger``.

    Raises:
        RemoteProtocolError: it does not say who did what.
    """
    raw = _decode(_card_actions, payload)
    event, action = raw.event, raw.event.action
    context = event.context or _CardContext()
    return CardAction(
        event_id=raw.header.event_id,
        operator_id=event.operator.open_id,
        token=event.token,
        message_id=context.open_message_id or None,
        chat_id=context.open_chat_id or None,
        tag=action.tag or "",
        name=action.name,
        value=action.value if isinstance(action.value, dict) else {},
        form_value=action.form_value or {},
        input_value=action.input_value,
        option=action.option,
        options=tuple(action.options or ()),
        checked=action.checked,
    )


# ── the shapes on the wire ──────────────────────────────────────────────────

_Time = str | int | float | None
_Present = msgspec.Meta(min_length=1, max_length=ID_CHARS_MAX)


class _Header(Struct, frozen=True):
    event_id: str | None = None
    event_type: str | None = None
    create_time: _Time = None
    app_id: str | None = None


class _RawEnvelope(Struct, frozen=True):
    schema: str | None = None
    header: _Header | None = None
    uuid: str | None = None
    ts: _Time = None
    event: msgspec.Raw = msgspec.Raw()


class _CardContext(Struct, frozen=True):
    open_message_id: MessageId | None = None
    open_chat_id: ChatId | None = None


class _Body(Struct, frozen=True):
    """Of any event: where it happened."""

    type: str | None = None
    app_id: str | None = None
    chat_id: str | None = None
    message_id: str | None = None
    message: _Body | None = None
    context: _CardContext | None = None


class _EventHeader(Struct, frozen=True):
    event_id: Annotated[EventId, _Present]


class _UserId(Struct, frozen=True):
    open_id: Annotated[OpenId, _Present]


class _Sender(Struct, frozen=True):
    sender_id: _UserId
    sender_type: str | None = None


class _MentionedId(Struct, frozen=True):
    open_id: OpenId | None = None


class _Mention(Struct, frozen=True):
    key: str
    id: _MentionedId | str | None = None
    name: str | None = None
    mentioned_type: str | None = None


class _Message(Struct, frozen=True):
    message_id: Annotated[MessageId, _Present]
    chat_id: Annotated[ChatId, _Present]
    chat_type: str
    message_type: str
    content: str | None = None
    mentions: tuple[_Mention, ...] | None = None
    root_id: MessageId | None = None
    parent_id: MessageId | None = None
    thread_id: str | None = None
    create_time: _Time = None


class _MessageBody(Struct, frozen=True):
    sender: _Sender
    message: _Message


class _RecallBody(Struct, frozen=True):
    message_id: Annotated[MessageId, _Present]
    chat_id: ChatId | None = None
    recall_type: str | None = None
    recall_time: _Time = None


class _Action(Struct, frozen=True):
    tag: str | None = None
    name: str | None = None
    value: Any = None
    form_value: dict[str, Any] | None = None
    input_value: str | None = None
    option: str | None = None
    options: tuple[str, ...] | None = None
    checked: bool | None = None


class _CardActionBody(Struct, frozen=True):
    operator: _UserId
    action: _Action
    token: str | None = None
    context: _CardContext | None = None


_BodyT = TypeVar("_BodyT")


class _Event(Struct, Generic[_BodyT], frozen=True):
    header: _EventHeader
    event: _BodyT


_envelopes: Final = msgspec.json.Decoder(_RawEnvelope)
_bodies: Final = msgspec.json.Decoder(_Body)
_messages: Final = msgspec.json.Decoder(_Event[_MessageBody])
_recalls: Final = msgspec.json.Decoder(_Event[_RecallBody])
_card_actions: Final = msgspec.json.Decoder(_Event[_CardActionBody])


# ── helpers ─────────────────────────────────────────────────────────────────

_ShapeT = TypeVar("_ShapeT")


def _decode(decoder: msgspec.json.Decoder[_ShapeT], payload: bytes) -> _ShapeT:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"not a readable event: {error}", code="bad_event") from error


def _body_or_default(event: msgspec.Raw) -> _Body:
    """Read where an event happened; an odd body is not worth losing the event for."""
    try:
        return _decode(_bodies, bytes(event))
    except RemoteProtocolError:
        return _Body()


def _read_v1(raw: _RawEnvelope, body: _Body) -> Envelope:
    """Read the older envelope, which a few event types still come in."""
    if not raw.uuid:
        raise RemoteProtocolError("an event with neither schema nor uuid", code="bad_event")
    return Envelope(
        event_id=EventId(_text(raw.uuid, "uuid")),
        event_type=_text(body.type, "event.type"),
        kind="other",
        chat_id=ChatId(body.chat_id) if body.chat_id else None,
        create_time_ms=_seconds_to_milliseconds(raw.ts),
        app_id=body.app_id,
    )


def _text(value: str | None, name: str) -> str:
    if not value:
        raise RemoteProtocolError(f"an event without {name}", code="bad_event")
    if len(value) > ID_CHARS_MAX:
        raise RemoteProtocolError(
            f"{name} of {len(value)} characters; {ID_CHARS_MAX} at most", code="bad_event"
        )
    return value


def _mention(raw: _Mention) -> Mention:
    if isinstance(raw.id, _MentionedId):
        open_id = raw.id.open_id
    else:
        open_id = OpenId(raw.id) if raw.id else None
    return Mention(
        key=raw.key,
        name=raw.name or "",
        open_id=open_id or None,
        mentioned_type=raw.mentioned_type,
    )


def _milliseconds(value: _Time) -> int | None:
    try:
        number = int(value or 0)
    except (ValueError, OverflowError):
        return None
    return (number // 1000 if number >= _MICROSECONDS_FROM else number) or None


def _seconds_to_milliseconds(value: _Time) -> int | None:
    try:
        return int(float(value) * 1000) if value is not None else None
    except (ValueError, OverflowError):
        return None
