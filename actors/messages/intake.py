"""What the intake of one account accepts."""

from __future__ import annotations

import msgspec

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from protocol.ids import MessageId, OpenId, RowId
from protocol.routing.delivery import Inbound, Prepared
from protocol.routing.pairing import AccessBook, Request


class Arrived(Message, frozen=True, kw_only=True):
    """An event was committed and acked; put it in order and on its way."""

    inbound: Inbound


class Toast(msgspec.Struct, frozen=True, kw_only=True):
    """What the person who pressed a button sees for a moment.

    ``kind`` is the platform's ``info``, ``success``, ``error`` or ``warning``.
    """

    kind: str
    en: str
    zh: str


class CardAction(Message, frozen=True, kw_only=True):
    """A press on a card was committed; it must be answered within 3 s."""

    inbound: Inbound
    reply: Reply[Toast | None]


class BotKnown(Message, frozen=True, kw_only=True):
    """From the intake's own child: who the bot is. Mention-gated groups waited for it."""

    open_id: OpenId


class TakeUp(Message, frozen=True, kw_only=True):
    """There may be committed events nobody has brought: look into the journal."""


class Completed(Message, frozen=True, kw_only=True):
    """From the intake's own child: what a message carries was fetched, or was not."""

    row_id: RowId
    prepared: Prepared


class Refused(Message, frozen=True, kw_only=True):
    """From the intake's own child: whether a sender was told that there is no room."""

    row_id: RowId
    told: bool


class Marked(Message, frozen=True, kw_only=True):
    """From the intake's own child: the waiting mark is on this message, or is not."""

    message_id: MessageId
    reaction_id: str | None


class Began(Message, frozen=True, kw_only=True):
    """The turn of this message began: it waits no longer. May be dropped."""

    message_id: MessageId


class CodeSent(Message, frozen=True, kw_only=True):
    """From the intake's own child: whether a pairing code reached the chat."""

    request: Request
    sent: bool


class Pairings(msgspec.Struct, frozen=True, kw_only=True):
    """Who was paired with an account, and the codes that wait for approval."""

    book: AccessBook


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an operator's wish; None: it concerns nothing of this account."""

    text: str | None


class ListPairings(Message, frozen=True, kw_only=True):
    reply: Reply[Pairings]


class ApprovePairing(Message, frozen=True, kw_only=True):
    """The operator lets in whom this code was shown to."""

    code: str
    reply: Reply[Told]


class RevokePairing(Message, frozen=True, kw_only=True):
    """The operator takes back what was approved of an open_id or chat_id, or a code."""

    subject: str
    reply: Reply[Told]


IntakeMessage = (
    Arrived
    | CardAction
    | BotKnown
    | TakeUp
    | Completed
    | Refused
    | Marked
    | Began
    | CodeSent
    | ListPairings
    | ApprovePairing
    | RevokePairing
)
