"""The events' bodies as they come over the wire, and how to read them.

Unknown keys are ignored, and ``null`` stands for a missing optional value, since the
platform adds keys and leaves others empty.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from protocol.errors import RemoteProtocolError
from protocol.ids import PLATFORM_ID, ChatId, EventId, MessageId, OpenId

ID_CHARS_MAX: Final = 256
"""The platform's ids are 20 to 70 characters; ours to index, so they have an end."""
MICROSECONDS_FROM: Final = 10**14
"""As milliseconds this is the year 5138, so what is above counts microseconds."""

Time = str | int | float | None
PRESENT = msgspec.Meta(min_length=1, max_length=ID_CHARS_MAX)
ID = msgspec.Meta(pattern=PLATFORM_ID)
"""What is to name a directory, or stand in the path of a request, has this form."""


class Header(Struct, frozen=True):
    event_id: str | None = None
    event_type: str | None = None


class RawEnvelope(Struct, frozen=True):
    schema: str | None = None
    header: Header | None = None
    uuid: str | None = None
    event: msgspec.Raw = msgspec.Raw()


class CardContext(Struct, frozen=True):
    open_message_id: MessageId | None = None
    open_chat_id: ChatId | None = None


class Body(Struct, frozen=True):
    """Of any event: where it happened."""

    type: str | None = None
    chat_id: str | None = None
    message_id: str | None = None
    comment_id: str | None = None
    reply_id: str | None = None
    message: Body | None = None
    context: CardContext | None = None


class EventHeader(Struct, frozen=True):
    event_id: Annotated[EventId, PRESENT]


class SenderId(Struct, frozen=True):
    open_id: OpenId | None = None


class UserId(Struct, frozen=True):
    open_id: Annotated[OpenId, ID]


class Sender(Struct, frozen=True):
    sender_id: SenderId | None = None
    sender_type: str | None = None


class MentionedId(Struct, frozen=True):
    open_id: OpenId | None = None


class RawMention(Struct, frozen=True):
    key: str
    id: MentionedId | str | None = None
    name: str | None = None
    mentioned_type: str | None = None


class RawMessage(Struct, frozen=True):
    message_id: Annotated[MessageId, ID]
    chat_id: Annotated[ChatId, ID]
    chat_type: str
    message_type: str
    content: str | None = None
    mentions: tuple[RawMention, ...] | None = None
    root_id: MessageId | None = None
    parent_id: MessageId | None = None
    thread_id: str | None = None
    create_time: Time = None


class MessageBody(Struct, frozen=True):
    message: RawMessage
    sender: Sender = Sender()


class RecallBody(Struct, frozen=True):
    message_id: Annotated[MessageId, ID]


class Notice(Struct, frozen=True):
    file_type: Annotated[str, ID]
    file_token: Annotated[str, ID]
    from_user_id: UserId


class CommentBody(Struct, frozen=True):
    notice_meta: Notice
    comment_id: Annotated[str, ID]
    reply_id: str | None = None
    is_mentioned: bool | None = None
    timestamp: Time = None


class Action(Struct, frozen=True):
    value: Any = None
    form_value: dict[str, Any] | None = None


class CardActionBody(Struct, frozen=True):
    operator: UserId
    action: Action
    context: CardContext | None = None


BodyT = TypeVar("BodyT")


class EventOf(Struct, Generic[BodyT], frozen=True):
    header: EventHeader
    event: BodyT


ENVELOPES: Final = msgspec.json.Decoder(RawEnvelope)
BODIES: Final = msgspec.json.Decoder(Body)
MESSAGES: Final = msgspec.json.Decoder(EventOf[MessageBody])
RECALLS: Final = msgspec.json.Decoder(EventOf[RecallBody])
COMMENTS: Final = msgspec.json.Decoder(EventOf[CommentBody])
CARD_ACTIONS: Final = msgspec.json.Decoder(EventOf[CardActionBody])


ShapeT = TypeVar("ShapeT")


def decode(decoder: msgspec.json.Decoder[ShapeT], payload: bytes) -> ShapeT:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"not a readable event: {error}", code="bad_event") from error


def milliseconds(value: Time) -> int | None:
    try:
        number = int(value or 0)
    except (ValueError, OverflowError):
        return None
    return (number // 1000 if number >= MICROSECONDS_FROM else number) or None
