"""What an operator may see of the rows: what waits, what was given, which chats write."""

from __future__ import annotations

import msgspec

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from actors.messages.journal.answers import Failed
from protocol.ids import AccountId, ChatId, EventId, MessageId, SessionId
from protocol.routing.delivery import RowState
from protocol.routing.history import MessageHistory


class RowWaiting(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is not with its session yet."""

    account: AccountId
    chat_id: ChatId | None
    """None until it was read so far."""
    topic: str | None
    message_id: MessageId | None
    state: RowState
    session_id: SessionId | None
    """Of whose chat it is; None: it follows the channel's owner."""
    received_at_ms: int
    attempt: int
    text: str | None
    """How it begins; None while it is not read yet, or where it is long."""


class ChatWaiting(msgspec.Struct, frozen=True, kw_only=True):
    account: AccountId
    chat_id: ChatId
    waiting: int
    """Of its messages; of all chats together no more than a thousand are counted."""
    oldest_at_ms: int


class RowGiven(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a session has and has not answered."""

    session_id: SessionId
    account: AccountId
    chat_id: ChatId
    topic: str | None
    at_ms: int


class ChatSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A chat, or a topic that is a place of its own, that wrote lately."""

    account: AccountId
    chat_id: ChatId
    topic: str | None
    last_at_ms: int


class RowsSeen(msgspec.Struct, frozen=True, kw_only=True):
    counts: dict[RowState, int]
    """Of the states a row leaves again; no state is counted further than a thousand."""
    waiting: tuple[RowWaiting, ...] = ()
    """Oldest first."""
    waiting_chats: tuple[ChatWaiting, ...] = ()
    """Who waits longest comes first."""
    given: tuple[RowGiven, ...] = ()
    """Latest first."""
    chats: tuple[ChatSeen, ...] = ()
    """Who wrote last comes first."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One event's row, and what became of it."""

    account: AccountId
    event_id: EventId
    kind: str
    chat_id: ChatId | None
    history: MessageHistory


class Explain(Message, frozen=True, kw_only=True):
    """Ask for a message_id or an event_id, of whatever account; None: nothing is known."""

    message: str
    reply: Reply[Explained | Failed | None]


class LookAtRows(Message, frozen=True, kw_only=True):
    """Count the rows, and list at most *limit* of each kind; it costs no more than that."""

    limit: int
    """0: count only."""
    reply: Reply[RowsSeen | Failed]
