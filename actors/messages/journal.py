"""What the journal accepts. Every answer is sent after the commit it speaks of."""

from __future__ import annotations

from typing import Literal

import msgspec

from actors.kit.mail import Reply
from actors.messages.base import Message
from protocol.delivery import EventKind, Inbound, Offer, Prepared, RowState
from protocol.ids import (
    AccountId,
    CardId,
    ChatId,
    ConnectionId,
    EventId,
    MessageId,
    RowId,
    SessionId,
    TurnId,
)
from protocol.lease import LeaseState
from protocol.pairing import AccessBook


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """The commit failed; nothing of it happened. ``reason`` is for log and status."""

    reason: str


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Committed. ``changed`` is false where there was nothing to change."""

    changed: bool = True


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


class Unprepared(Message, frozen=True, kw_only=True):
    """Ask for rows still ``received`` of an account, oldest first, after *after_row*."""

    account: AccountId
    after_row: RowId
    limit: int
    reply: Reply[tuple[Inbound, ...] | Failed]


class Prepare(Message, frozen=True, kw_only=True):
    """``received`` → ``ready``, with what a session will be given."""

    row_id: RowId
    prepared: Prepared
    reply: Reply[Done | Failed]


class Close(Message, frozen=True, kw_only=True):
    """Bring a row to a closed state (any open state → *state*); closed rows stay."""

    row_id: RowId
    state: RowState
    note: str | None
    at_ms: int
    reply: Reply[Done | Failed]


class OfferNext(Message, frozen=True, kw_only=True):
    """Take the oldest ready row this session hears, and commit it as offered.

    A chat with a binding is heard by its bound session only; any other by the
    session that *hears_unbound*. Answers None when there is no such row.
    """

    session_id: SessionId
    hears_unbound: bool
    connection_id: ConnectionId
    lease_epoch: int
    at_ms: int
    reply: Reply[Offer | Failed | None]


class Acked(Message, frozen=True, kw_only=True):
    """``offered`` → ``delivered``, if this connection holds this attempt of it."""

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
    """Replace the stored lease and bindings by *lease*, in one commit."""

    lease: LeaseState
    reply: Reply[Done | Failed]


# ── card ledger ─────────────────────────────────────────────────────────────


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One card entity that was not yet brought to a final state."""

    card_id: CardId
    account: AccountId
    chat_id: ChatId
    turn_id: TurnId
    session_alias: str
    opened_at_ms: int
    message_id: MessageId | None = None
    """The message that carries it; None until it was sent."""
    text: str = ""
    """Answer text known to have been shown, so that a repair keeps it."""


class OpenCard(Message, frozen=True, kw_only=True):
    """Enter a card before its first update."""

    entry: LedgerEntry
    reply: Reply[Done | Failed]


class NoteCard(Message, frozen=True, kw_only=True):
    """Update what is known of an open card. None leaves a field as it is."""

    card_id: CardId
    message_id: MessageId | None = None
    text: str | None = None
    reply: Reply[Done | Failed]


CardOutcome = Literal["complete", "aborted", "error", "lost"]


class CloseCard(Message, frozen=True, kw_only=True):
    """The card's final state was accepted, or the card is lost for good."""

    card_id: CardId
    outcome: CardOutcome
    at_ms: int
    reply: Reply[Done | Failed]


class OpenCards(Message, frozen=True, kw_only=True):
    """Ask for every card left open, of all accounts."""

    reply: Reply[tuple[LedgerEntry, ...] | Failed]


# ── correspondence ──────────────────────────────────────────────────────────


class Correspondence(msgspec.Struct, frozen=True, kw_only=True):
    account: AccountId | None
    """Whose chat it is; None for one that no session was ever given a message of."""
    given: bool
    """Whether this session was."""


class Correspondent(Message, frozen=True, kw_only=True):
    session_id: SessionId
    chat_id: ChatId
    reply: Reply[Correspondence | Failed]


class NoteSent(Message, frozen=True, kw_only=True):
    """A message of ours is out; it may be edited, answered and reacted to later."""

    message_id: MessageId
    account: AccountId
    chat_id: ChatId
    at_ms: int
    reply: Reply[Done | Failed]


class MessageAt(msgspec.Struct, frozen=True, kw_only=True):
    account: AccountId
    chat_id: ChatId
    ours: bool


class WhereIs(Message, frozen=True, kw_only=True):
    """Ask for account and chat of a message; None for one we do not know."""

    message_id: MessageId
    accounts: tuple[AccountId, ...]
    reply: Reply[MessageAt | Failed | None]


class UnansweredRow(msgspec.Struct, frozen=True, kw_only=True):
    row_id: RowId
    event_id: EventId
    attempt: int
    received_at_ms: int
    message_id: MessageId | None
    prepared: Prepared


class Unanswered(Message, frozen=True, kw_only=True):
    """Ask for rows this session was given and has not answered, oldest first."""

    session_id: SessionId
    chat_id: ChatId | None = None
    message_id: MessageId | None = None
    limit: int
    reply: Reply[tuple[UnansweredRow, ...] | Failed]


class Overdue(Message, frozen=True, kw_only=True):
    """Ask, by session, how many rows were delivered before a moment and not answered."""

    delivered_before_ms: int
    reply: Reply[dict[SessionId, int] | Failed]


# ── approvals ───────────────────────────────────────────────────────────────


class ApprovalLeft(msgspec.Struct, frozen=True, kw_only=True):
    """The card of a request that was not brought to its last state yet."""

    message_id: MessageId
    account: AccountId
    last_card: str
    """Card JSON to show if a later start finds the entry."""


class EnterApproval(Message, frozen=True, kw_only=True):
    entry: ApprovalLeft
    reply: Reply[Done | Failed]


class ForgetApproval(Message, frozen=True, kw_only=True):
    message_id: MessageId
    reply: Reply[Done | Failed]


class ApprovalsLeft(Message, frozen=True, kw_only=True):
    reply: Reply[tuple[ApprovalLeft, ...] | Failed]


# ── who was paired ──────────────────────────────────────────────────────────


class LoadAccess(Message, frozen=True, kw_only=True):
    account: AccountId
    reply: Reply[AccessBook | Failed]


class SaveAccess(Message, frozen=True, kw_only=True):
    """Replace what is stored of the account's pairings by *book*."""

    account: AccountId
    book: AccessBook
    reply: Reply[Done | Failed]


JournalMessage = (
    Append
    | Unprepared
    | Prepare
    | Close
    | OfferNext
    | Acked
    | Release
    | Queue
    | Prune
    | LoadLease
    | SaveLease
    | OpenCard
    | NoteCard
    | CloseCard
    | OpenCards
    | Correspondent
    | NoteSent
    | WhereIs
    | Unanswered
    | Overdue
    | EnterApproval
    | ForgetApproval
    | ApprovalsLeft
    | LoadAccess
    | SaveAccess
)
