"""What a lane accepts, and what its host does. All of it can be sent without waiting."""

from __future__ import annotations

import msgspec
import trio

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from actors.messages.journal import TurnPlace
from actors.messages.link import LinkMessage
from actors.messages.turn import InputSender, Mode
from protocol.ids import (
    ChatId,
    ConnectionId,
    MessageId,
    OpenId,
    PlaceKey,
    RowId,
    SessionId,
    TurnId,
)
from protocol.routing.delivery import Offer
from protocol.wire.vocabulary import CancelReason, TurnStatus


class Attached(Message, frozen=True, kw_only=True):
    """A live connection speaks for this session from now on."""

    session_id: SessionId
    alias: str
    connection_id: ConnectionId
    capabilities: frozenset[str]
    link: trio.MemorySendChannel[LinkMessage]


class Detached(Message, frozen=True, kw_only=True):
    """That connection ended; a newer one stays."""

    session_id: SessionId
    connection_id: ConnectionId


class Wake(Message, frozen=True, kw_only=True):
    """There may be rows for this session. Merges with any other wake."""

    session_id: SessionId


class RowClosed(Message, frozen=True, kw_only=True):
    """A row this session was given was answered."""

    session_id: SessionId
    row_id: RowId


class ToolCalled(Message, frozen=True, kw_only=True):
    """The session called a tool of its own: it has read what it was given. May be dropped."""

    session_id: SessionId


class Given(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A row that a channel session was given, and what has become of it since."""

    offer: Offer
    turn_id: TurnId
    alias: str
    read: trio.Event = msgspec.field(default_factory=trio.Event)
    """The session called a tool, or :attr:`over`."""
    over: trio.Event = msgspec.field(default_factory=trio.Event)
    """It was answered, or its session is gone."""

    def end(self) -> None:
        self.read.set()
        self.over.set()


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    session_id: SessionId
    turn_id: TurnId
    alias: str
    mode: Mode
    """In streaming mode the turn's card shows it; in static mode it needs an answer of its own."""


class NothingRunning(msgspec.Struct, frozen=True, kw_only=True):
    pass


class NotAllowed(msgspec.Struct, frozen=True, kw_only=True):
    """Only who started the turn, anyone in its direct chat, or an admin may stop it."""


StopAnswer = Stopped | NothingRunning | NotAllowed


class StopTurn(Message, frozen=True, kw_only=True):
    """Stop the turn in flight (or the one named), as *by* asked in *chat_id*.

    Where a *place* is named, only one that was started from there.
    """

    session_id: SessionId
    turn_id: TurnId | None
    chat_id: ChatId
    by: OpenId
    by_admin: bool
    place: PlaceKey | None = None
    admitted_in: frozenset[str] = frozenset({"p2p", "group"})
    """Kinds of chat in which the gate lets *by* in at this moment."""
    reason: CancelReason
    answered: bool = False
    """Whether who asks sends a message about it in any case."""
    reply: Reply[StopAnswer]


class StopShown(Message, frozen=True, kw_only=True):
    """Answer whether people see what became of a turn, once that is known.

    They do when a card of it was sent, which the ledger knows from then on, or when its
    actor has done all it had to. Nobody knows after a crash of that actor, or of the lane.
    """

    session_id: SessionId
    turn_id: TurnId
    reply: Reply[bool]


class FindOwnTurns(Message, frozen=True, kw_only=True):
    """Which sessions opened their last own turn in a place, the latest first; it may be over."""

    place: PlaceKey
    reply: Reply[tuple[SessionId, ...]]


class OwnTurnOpened(msgspec.Struct, frozen=True, kw_only=True):
    turn: InputSender
    """Takes what the proxy sends of it."""


class OwnTurnRefused(msgspec.Struct, frozen=True, kw_only=True):
    why: str


class OpenOwnTurn(Message, frozen=True, kw_only=True):
    """The session goes on by itself: show that where it was given a message."""

    session_id: SessionId
    connection_id: ConnectionId
    turn_id: TurnId
    place: TurnPlace
    title: str | None
    earlier_ended: bool
    """The session has ended every turn that it opened before; their actors may not know yet."""
    reply: Reply[OwnTurnOpened | OwnTurnRefused]


class RowRevoked(Message, frozen=True, kw_only=True):
    """A row offered to this session and not acked went to another; its turn stops here."""

    session_id: SessionId
    row_id: RowId


class StopRecalled(Message, frozen=True, kw_only=True):
    """The user took the message back: its turn stops, in whichever lane it runs."""

    message_id: MessageId


class StopAll(Message, frozen=True, kw_only=True):
    """The daemon leaves: no new turn, every turn in flight to Stopped.

    Answered when every lane has it; cards reach their final state on their own
    and are waited for by the nurseries.
    """

    reply: Reply[None]


class TurnEnded(Message, frozen=True, kw_only=True):
    """From the turn's own actor: the proxy has ended it; the lane is free."""

    turn_id: TurnId
    status: TurnStatus


class CardSent(Message, frozen=True, kw_only=True):
    """From the turn's own actor: people see a card of it, which a repair would end, too."""

    turn_id: TurnId


class CardLost(Message, frozen=True, kw_only=True):
    """From the turn's own actor: no card shows its end; a stop is answered by a message."""

    turn_id: TurnId


class Fetched(Message, frozen=True, kw_only=True):
    """From the lane's own child: the rows it asked for were sent before this."""

    more: bool
    """Whether to ask again: there may be more, or nobody answered in time."""


class TurnActorEnded(Message, frozen=True, kw_only=True):
    """From the lane's own child: this turn's actor has nothing left to do."""

    turn_id: TurnId
    crashed: bool = False


class CancelExpired(Message, frozen=True, kw_only=True):
    """From the lane's own timer: the proxy did not end the cancelled turn in time."""

    turn_id: TurnId


LaneMessage = (
    Attached
    | Detached
    | Wake
    | RowClosed
    | ToolCalled
    | StopTurn
    | StopShown
    | OpenOwnTurn
    | FindOwnTurns
    | RowRevoked
    | StopRecalled
    | StopAll
    | TurnEnded
    | CardSent
    | CardLost
    | Offer  # from the lane's own child: a row it asked for
    | Fetched
    | TurnActorEnded
    | CancelExpired
)
