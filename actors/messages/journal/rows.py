"""What the journal accepts about inbound rows, the lease and the sessions."""

from __future__ import annotations

import msgspec

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from actors.messages.journal.answers import Done, Failed
from protocol.ids import (
    AccountId,
    ChatId,
    ConnectionId,
    EventId,
    MessageId,
    PlaceKey,
    RowId,
    SessionId,
)
from protocol.routing.delivery import EventKind, Offer, Prompt, RowState, StoredEvent
from protocol.routing.history import MessageHistory
from protocol.routing.lease import LeaseState
from protocol.routing.roster import KnownSession, Roster
from protocol.routing.targets import Moved

# ── inbound rows ────────────────────────────────────────────────────────────


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    row_id: RowId
    duplicate: bool
    """The same event id, or the same message of the account, was there before."""


class Append(Message, frozen=True, kw_only=True):
    """Accept one event of the platform, once. Idempotent by event id and message key."""

    account: AccountId
    event_id: EventId
    message_key: str | None
    """The id the platform de-duplicates messages by; None for other events."""
    kind: EventKind
    payload: bytes
    received_at_ms: int
    reply: Reply[Appended | Failed]

    def stored(self, row_id: RowId) -> StoredEvent:
        """Return the event as it is once it has its row."""
        return StoredEvent(
            row_id=row_id,
            account=self.account,
            event_id=self.event_id,
            kind=self.kind,
            payload=self.payload,
            received_at_ms=self.received_at_ms,
        )


class Unprepared(Message, frozen=True, kw_only=True):
    """Ask for rows still ``received`` of an account, oldest first, after *after_row*."""

    account: AccountId
    after_row: RowId
    limit: int
    reply: Reply[tuple[StoredEvent, ...] | Failed]


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows may wait for a session that runs its turns one by one."""

    session_id: SessionId
    takes_unbound: bool
    waiting_max: int


class LaneFull(msgspec.Struct, frozen=True, kw_only=True):
    """Too many wait already: the row stays ``received`` until its sender was notified."""


class Dispatch(Message, frozen=True, kw_only=True):
    """Bind a row still ``received`` to the session its place is on now."""

    row_id: RowId
    chat_id: ChatId
    topic: str | None = None
    """Of the chat, where topics are places of their own."""
    reply: Reply[Done | Failed]


class PreparedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a prompt, and its row."""

    row_id: RowId
    prompt: Prompt


class Prepare(Message, frozen=True, kw_only=True):
    """``received`` → ``ready`` for the rows of one prompt, in one commit.

    They are bound to the session their chat is on now, unless they were dispatched.
    """

    rows: tuple[PreparedRow, ...]
    """In order."""
    joined_to: RowId | None = None
    """Of several, which share their state from then on: the row of the first message. It may
    be closed, when that was recalled."""
    capacity: Capacity | None = None
    """None: as many may wait as come."""
    reply: Reply[Done | LaneFull | Failed]


class WaitingRow(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt that waits: a row, with those joined to it."""

    row_id: RowId
    account: AccountId
    received_at_ms: int
    prompt: Prompt


class FindWaiting(Message, frozen=True, kw_only=True):
    """Ask for the prompts that wait for a session, in the order it will be given them."""

    session_id: SessionId
    takes_unbound: bool
    limit: int
    reply: Reply[tuple[WaitingRow, ...] | Failed]


class DropWaiting(Message, frozen=True, kw_only=True):
    """``ready`` → ``expired`` for those of the rows that still wait; answers which.

    What is joined to one of them goes with it. Asked again with the same note and time it
    answers as before, so that a question that came late is no other.
    """

    row_ids: tuple[RowId, ...]
    note: str
    at_ms: int
    reply: Reply[tuple[RowId, ...] | Failed]


class DropMessage(Message, frozen=True, kw_only=True):
    """``received`` or ``ready`` → ``expired`` for the row of a message, if it still waits."""

    account: AccountId
    message_key: str
    note: str
    at_ms: int
    reply: Reply[Done | Failed]


class Close(Message, frozen=True, kw_only=True):
    """Bring a row to a closed state (any open state → *state*); closed rows stay.

    Those joined to it that are in its state go with it.
    """

    row_id: RowId
    state: RowState
    note: str | None
    at_ms: int
    chat_id: ChatId | None = None
    """Where it was sent, for a row that has no chat yet."""
    reply: Reply[Done | Failed]


class FindHistory(Message, frozen=True, kw_only=True):
    """Ask what became of a message, or of the latest one of a chat; None: nothing is known.

    Of one that a command asks about, the command itself is never the latest: the rows of
    commands have no chat.
    """

    account: AccountId
    chat_id: ChatId
    topic: str | None
    """Where a topic is a place of its own, the latest one is of that place."""
    message_id: MessageId | None
    reply: Reply[MessageHistory | Failed | None]


class TopicHad(Message, frozen=True, kw_only=True):
    """Ask whether a topic, a place of its own, had a prompt before this row."""

    account: AccountId
    topic: str
    before_row: RowId
    reply: Reply[bool | Failed]


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """The row's command may be carried out, or was."""

    first: bool
    """False: somebody began to carry it out before, and may have."""
    answer: bytes | None
    """What was noted as its answer: it was carried out, and only the answer is to be sent."""


class ClaimCommand(Message, frozen=True, kw_only=True):
    """Note that a row's command is about to be carried out; None: the row is closed already.

    So a row that is read twice, in one run or the next, acts once.
    """

    row_id: RowId
    reply: Reply[Claimed | Failed | None]


class NoteAnswer(Message, frozen=True, kw_only=True):
    """The command was carried out; this is what its sender is to be answered."""

    row_id: RowId
    answer: bytes
    reply: Reply[Done | Failed]


class OfferNext(Message, frozen=True, kw_only=True):
    """Take the oldest ready rows that are routed to this session, and commit them as offered.

    A chat with a binding is routed to its bound session only; any other to the
    session that *takes_unbound*. Answers nothing when there is no such row.
    """

    session_id: SessionId
    takes_unbound: bool
    joins: bool = True
    """Take one row, and what is joined to it, as one prompt; else each is alone from now on."""
    rows_max: int = 1
    """Of rows that are alone."""
    connection_id: ConnectionId
    lease_epoch: int
    at_ms: int
    reply: Reply[tuple[Offer, ...] | Failed]


class Acked(Message, frozen=True, kw_only=True):
    """``offered`` → ``delivered``, if this connection holds this attempt of it.

    What was offered with it, as one prompt, was delivered with it.
    """

    event_id: EventId
    attempt: int
    connection_id: ConnectionId
    at_ms: int
    reply: Reply[Done | Failed]


class Release(Message, frozen=True, kw_only=True):
    """``offered`` → ``ready`` for rows not acked: all of a connection, or those named.

    Their attempt stays, so that the next offer counts on.
    """

    connection_id: ConnectionId | None
    """None: of every connection, when nobody is connected."""
    row_ids: tuple[RowId, ...] | None
    """None: all that this connection holds unacked."""
    reply: Reply[Done | Failed]


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the rows that wait now are dispatched to; None: whoever owns the channel."""

    dispatched_to: frozenset[SessionId | None] = frozenset()


class ReleaseUnknown(Message, frozen=True, kw_only=True):
    """``offered`` → ``ready`` for every row that nobody holds, whoever it was offered to.

    An offer whose answer came too late for its asker is found by this.
    """

    held: frozenset[RowId]
    """Rows that somebody holds unacked."""
    connections: frozenset[ConnectionId]
    """Connections that are being offered a row at this moment: theirs are left alone."""
    reply: Reply[Released | Failed]


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    pending: int
    """Rows received or ready."""
    in_flight: int
    """Rows offered and not acked."""
    oldest_pending_at_ms: int | None
    damaged: int
    last_error: str | None = None
    """Why something could not be stored, the last time that happened since the start."""
    last_error_at_ms: int | None = None


class Queue(Message, frozen=True, kw_only=True):
    reply: Reply[QueueState | Failed]


class Prune(Message, frozen=True, kw_only=True):
    """Delete closed rows received before *before_ms*, at most *limit* of them."""

    before_ms: int
    limit: int
    reply: Reply[Done | Failed]


# ── lease and bindings ──────────────────────────────────────────────────────


class LoadLease(Message, frozen=True, kw_only=True):
    reply: Reply[LeaseState | Failed]


class SaveLease(Message, frozen=True, kw_only=True):
    """Replace the stored lease and bindings by *lease*, in one commit.

    Rows that wait stay with the session they were dispatched to, but for those that are
    *moved*: they follow the new binding. Of a moved chat also those of its topics
    that have no binding of their own.
    """

    lease: LeaseState
    moved: Moved = Moved()
    session: KnownSession | None = None
    """Remembered in the same commit."""
    reply: Reply[Done | Failed]


# ── sessions that were here ─────────────────────────────────────────────────


class LoadRoster(Message, frozen=True, kw_only=True):
    reply: Reply[Roster | Failed]


class SaveSession(Message, frozen=True, kw_only=True):
    """Remember a session, or what changed of it."""

    session: KnownSession
    reply: Reply[Done | Failed]


class ForgetSession(Message, frozen=True, kw_only=True):
    session_id: SessionId
    reply: Reply[Done | Failed]


class SaveUnread(Message, frozen=True, kw_only=True):
    """Note that a session has, or has no more, background work unread in a chat."""

    session_id: SessionId
    place: PlaceKey
    unread: bool
    reply: Reply[Done | Failed]
