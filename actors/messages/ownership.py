"""What the ownership actor, the single writer of lease state, accepts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

import msgspec
import trio

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from actors.messages.journal import Capacity
from actors.messages.link import LinkMessage
from protocol.ids import AccountId, ConnectionId, PlaceKey, RowId, SessionId
from protocol.routing.delivery import Offer
from protocol.routing.roster import KnownSession, ReplyMode, SessionView, StartedAgent
from protocol.wire import messages as wire
from protocol.wire.vocabulary import GivenAnswer, RefusedCode, Role

WAITING_ROWS_MAX: Final = 20
"""Prompts that may wait for one session beside the turn in flight."""


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    alias: str
    lease_epoch: int
    choices: Mapping[str, str] = {}
    """What people chose of its agent before: option → choice."""
    conversation: str | None = None
    """Of its agent, the one it was in last."""


class NotAdmitted(msgspec.Struct, frozen=True, kw_only=True):
    code: RefusedCode
    message: str


class RegisterSession(Message, frozen=True, kw_only=True):
    """A connection proved who it is. A newer one of the same session replaces the older."""

    connection_id: ConnectionId
    session_id: SessionId
    role: Role
    proven_by: Role
    """Whose token made the proof: the dispatcher's may change the role of a session id."""
    pid: int
    proxy_version: str
    metadata: dict[str, str]
    capabilities: frozenset[str]
    link: trio.MemorySendChannel[LinkMessage]
    reply: Reply[Admitted | NotAdmitted]


class ConnectionEnded(Message, frozen=True, kw_only=True):
    """That connection is over. Clears nothing of the lease."""

    connection_id: ConnectionId


class LinksStarted(Message, frozen=True, kw_only=True):
    """The links run anew: every connection of before is over, whether that was reported or not."""


class ToolDone(msgspec.Struct, frozen=True, kw_only=True):
    result: Any


class ToolFailed(msgspec.Struct, frozen=True, kw_only=True):
    error: str


ToolAnswer = ToolDone | ToolFailed
OperatorTool = Callable[[Mapping[str, Any]], Awaitable[ToolAnswer]]
"""``tool(args)`` of a connection without a session; it answers within a deadline of its own."""


class CallTool(Message, frozen=True, kw_only=True):
    """A ``feishu_channel_*`` tool, called over this connection."""

    connection_id: ConnectionId
    name: str
    args: dict[str, Any]
    reply: Reply[ToolAnswer]


class ChatState(msgspec.Struct, frozen=True, kw_only=True):
    """What commands need to know of a chat: who is there, and whom it is on."""

    sessions: tuple[SessionView, ...]
    """Live ones in order of connection, then those remembered, the latest seen first."""
    current: SessionId | None
    bound: bool
    owner: SessionId | None
    unbound: SessionId | None
    """The session the place is on when its own binding ends: a topic follows its chat."""
    """Of the channel: the target of chats that are on no session of their own."""
    lease_epoch: int


class LookUp(Message, frozen=True, kw_only=True):
    place: PlaceKey
    reply: Reply[ChatState]


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for stands. False: it could not be stored, nothing has changed."""

    done: bool


class Bind(Message, frozen=True, kw_only=True):
    """Route a chat to a session, live or remembered; None: to the owner again."""

    place: PlaceKey
    session_id: SessionId | None
    reply: Reply[Stored]


class Expect(Message, frozen=True, kw_only=True):
    """Remember how a session's agent was started, until it is removed.

    A chat can be on it from then on, also while it is away.
    """

    session_id: SessionId
    started: StartedAgent
    reply: Reply[Stored]


class FindStarted(Message, frozen=True, kw_only=True):
    """Ask which sessions were started from a chat and not removed."""

    reply: Reply[tuple[KnownSession, ...]]


class Remove(Message, frozen=True, kw_only=True):
    """Forget a session that will not come back, and end the bindings of chats to it."""

    session_id: SessionId
    reply: Reply[Stored]


class SetReplyMode(Message, frozen=True, kw_only=True):
    """None: as configured for all."""

    session_id: SessionId
    mode: ReplyMode | None
    reply: Reply[Stored]


class TurnShown(Message, frozen=True, kw_only=True):
    """A turn that nobody stopped was shown to its end.

    Answers whether its chat is on another session; if so there is something unread.
    """

    session_id: SessionId
    place: PlaceKey
    reply: Reply[bool]


class RowReady(Message, frozen=True, kw_only=True):
    """A row of this chat became ready in the journal."""

    row_id: RowId
    place: PlaceKey
    dispatched_to: SessionId | None = None
    """The session its chat was on, where that is some time ago."""


class IntakeStarted(Message, frozen=True, kw_only=True):
    """Rows may have become ready of which an earlier run of the intake sent no notice."""


class Next(Message, frozen=True, kw_only=True):
    """A lane that is free asks for its session's next rows: one where it runs turns."""

    session_id: SessionId
    connection_id: ConnectionId
    reply: Reply[tuple[Offer, ...]]


class RowAcked(Message, frozen=True, kw_only=True):
    connection_id: ConnectionId
    ack: wire.Ack


class RowAnswered(Message, frozen=True, kw_only=True):
    """The turn of this row ended, or a reply named it: the row is closed."""

    row_id: RowId
    by: SessionId | None = None
    """The session whose reply it was; its lane is notified."""


class ConnectionState(Message, frozen=True, kw_only=True):
    """How an account's long connection is; the latest replaces the one before."""

    account: AccountId
    state: str
    """``connecting``, ``connected``, ``reconnecting``, ``refused`` or ``closed``."""
    last_event_at_ms: int | None
    last_error: str | None


class Refusals(Message, frozen=True, kw_only=True):
    """How many messages an account's gate refused since the start, by reason."""

    account: AccountId
    by_reason: dict[str, int]


class Unresponsive(Message, frozen=True, kw_only=True):
    """Whether a session still owes the end of a turn that was cancelled long ago."""

    session_id: SessionId
    unresponsive: bool


class OwnTurnAt(Message, frozen=True, kw_only=True):
    """Where a session shows a turn that nobody asked for; None: it has none any more."""

    session_id: SessionId
    number: int
    """Rising in one run of the lane: a report that comes late is dropped."""
    place: PlaceKey | None


class OptionsOffered(Message, frozen=True, kw_only=True):
    """What people can change about the agent of this connection, and call."""

    connection_id: ConnectionId
    offer: wire.OptionsOffer


class FindOptions(Message, frozen=True, kw_only=True):
    """Ask what a session offers; None: nothing, or it is away."""

    session_id: SessionId
    reply: Reply[wire.OptionsOffer | None]


class PassChoice(Message, frozen=True, kw_only=True):
    """Pass a choice to a session's agent; dropped where it is away."""

    session_id: SessionId
    option: str
    choice: str
    reply: Reply[wire.Chosen]


class PassAnswer(Message, frozen=True, kw_only=True):
    """Pass an answer to a session whose agent may wait for it; dropped where it is away."""

    session_id: SessionId
    question_id: str
    action: Literal["accept", "decline"]
    answers: tuple[GivenAnswer, ...]
    reply: Reply[wire.AnswerTaken]
    """No answer: nobody knows whether it waited."""


class ChoiceMade(Message, frozen=True, kw_only=True):
    """It holds: remember it, and choose it again when the session comes back."""

    session_id: SessionId
    option: str
    choice: str


class ConversationReported(Message, frozen=True, kw_only=True):
    """The session's agent is in this conversation, or has *lost* it: remember that."""

    session_id: SessionId
    conversation: str
    title: str | None
    """None: as it was."""
    lost: bool


class PassResume(Message, frozen=True, kw_only=True):
    """Ask a session for earlier conversations of its agent, or take one up.

    Dropped where it is away, or keeps none.
    """

    session_id: SessionId
    conversation: str | None
    reply: Reply[wire.Resumed]


class Leaving(Message, frozen=True, kw_only=True):
    """The daemon leaves: registrations are refused as ``draining``, links send bye."""

    reply: Reply[None]


class ChatTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where a chat is routed: the session it is on, and whether that one is live."""

    session_id: SessionId | None
    alias: str | None
    live: bool
    capacity: Capacity | None = None
    """How much may wait for it; None: it is given rows as they come, or it is away."""
    busy: bool = False
    """A turn of it is in flight: a prompt has to wait."""


class FindRunning(Message, frozen=True, kw_only=True):
    """Ask which session has a turn in flight that was started from this chat.

    The one the chat is on comes first, and is the answer where no session has one.
    """

    place: PlaceKey
    reply: Reply[SessionId | None]


class FindTarget(Message, frozen=True, kw_only=True):
    place: PlaceKey
    reply: Reply[ChatTarget]


OwnershipMessage = (
    RegisterSession
    | ConnectionEnded
    | LinksStarted
    | CallTool
    | LookUp
    | Bind
    | Expect
    | FindStarted
    | Remove
    | SetReplyMode
    | TurnShown
    | RowReady
    | IntakeStarted
    | Next
    | RowAcked
    | RowAnswered
    | ConnectionState
    | Refusals
    | Unresponsive
    | OwnTurnAt
    | Leaving
    | OptionsOffered
    | FindOptions
    | PassChoice
    | PassAnswer
    | ChoiceMade
    | ConversationReported
    | PassResume
    | FindTarget
    | FindRunning
)
BuildStored = Callable[[Reply[Stored]], OwnershipMessage]
"""A question that is answered by whether it stands."""
