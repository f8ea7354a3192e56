"""What the intake of one account accepts."""

from __future__ import annotations

import msgspec

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from actors.messages.journal import PreparedRow
from protocol.ids import ChatId, MessageId, OpenId, PlaceKey, RowId
from protocol.routing.delivery import StoredEvent
from protocol.routing.pairing import AccessBook, PairingRequest


class Toast(msgspec.Struct, frozen=True, kw_only=True):
    """What the person who pressed a button sees for a moment.

    ``kind`` is the platform's ``info``, ``success``, ``error`` or ``warning``.
    """

    kind: str
    en: str
    zh: str


class PressArrived(Message, frozen=True, kw_only=True):
    """A press on a card was committed; it must be answered within 3 s."""

    event: StoredEvent
    reply: Reply[Toast | None]


class BotKnown(Message, frozen=True, kw_only=True):
    """From the intake's own child: who the bot is. Mention-gated groups waited for it."""

    open_id: OpenId


class KindLearned(Message, frozen=True, kw_only=True):
    """From the intake's own child: whether each topic of a group is a place of its own.

    None: the platform did not answer; it is asked again later.
    """

    chat_id: ChatId
    topics: bool | None


class Recover(Message, frozen=True, kw_only=True):
    """There may be committed events nobody has forwarded: look into the journal."""


class RefusalSent(Message, frozen=True, kw_only=True):
    """From the intake's own child: whether a sender was notified that the lane is full."""

    row_id: RowId
    delivered: bool


class CommandDone(Message, frozen=True, kw_only=True):
    """From the intake's own child: a command took effect; what came after it may go on."""

    row_id: RowId
    place: PlaceKey


class CommandClosed(Message, frozen=True, kw_only=True):
    """From the intake's own child: a command's answer is out, and its row is closed."""

    row_id: RowId


class MarkPlaced(Message, frozen=True, kw_only=True):
    """From the intake's own child: the waiting mark is on this message, or is not."""

    message_id: MessageId
    reaction_ids: tuple[str, ...]
    """Empty: it is not there. More than one where its own is not known among others'."""


class WaitsNoLonger(Message, frozen=True, kw_only=True):
    """The turn of this message began, or a chat of another account has dropped it.

    May be dropped.
    """

    message_id: MessageId


class CodeSent(Message, frozen=True, kw_only=True):
    """From the intake's own child: whether a pairing code reached the chat."""

    request: PairingRequest
    sent: bool


class CodeNamed(Message, frozen=True, kw_only=True):
    """From the intake's own child: who a code was shown to, in the platform's words."""

    code: str
    name: str
    chat_name: str


class Pairings(msgspec.Struct, frozen=True, kw_only=True):
    """Who was paired with an account, and the codes that wait for approval."""

    book: AccessBook


class PairingResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an operator's request; None: it concerns nothing of this account."""

    text: str | None


class ListPairings(Message, frozen=True, kw_only=True):
    reply: Reply[Pairings]


class ApprovePairing(Message, frozen=True, kw_only=True):
    """The operator lets in whom this code was shown to."""

    code: str
    reply: Reply[PairingResult]


class RevokePairing(Message, frozen=True, kw_only=True):
    """The operator takes back what was approved of an open_id or chat_id, or a code."""

    subject: str
    reply: Reply[PairingResult]


class ReportAccess(Message, frozen=True, kw_only=True):
    """The approvals run anew: send them the gate as it is."""


IntakeMessage = (
    StoredEvent  # put it in order and on its way
    | PressArrived
    | BotKnown
    | KindLearned
    | Recover
    | PreparedRow  # from the intake's own child: what it carries was fetched, or was not
    | RefusalSent
    | CommandDone
    | CommandClosed
    | MarkPlaced
    | WaitsNoLonger
    | CodeSent
    | CodeNamed
    | ListPairings
    | ApprovePairing
    | RevokePairing
    | ReportAccess
)
