"""What the journal accepts about cards, messages of ours, approvals and pairings."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from actors.messages.journal.answers import Done, Failed
from protocol.ids import (
    AccountId,
    CardId,
    ChatId,
    ChatType,
    EventId,
    MessageId,
    OpenId,
    RowId,
    SessionId,
    TurnId,
)
from protocol.routing.delivery import Prompt
from protocol.routing.pairing import AccessBook
from protocol.routing.receivers import ChatKnown
from protocol.wire.messages import Attachment

# ── card ledger ─────────────────────────────────────────────────────────────


_TEXT_ENTRY: Final = "text:"


def text_entry_id(turn_key: str) -> CardId:
    """Return the id of the entry that stands for a turn's messages, not for a card."""
    return CardId(f"{_TEXT_ENTRY}{turn_key}")


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One card entity that was not yet brought to a final state, or a turn without a card."""

    card_id: CardId
    """Of a turn without a card: :func:`text_entry_id`."""
    account: AccountId
    chat_id: ChatId
    turn_id: TurnId
    session_id: SessionId
    session_alias: str
    opened_at_ms: int
    message_id: MessageId | None = None
    """The message that carries it; None until it was sent."""
    term: int | None = None
    """Of the daemon that opened it: its generation on SQLite. None: from before terms."""
    text: str = ""
    """Answer text on this card when it was last noted, so that a repair keeps it."""
    panels: bytes = b""
    """Plan, tools, reasoning and what goes as messages, as last noted, in the form of the
    turn's actor."""

    @property
    def is_card(self) -> bool:
        return not self.card_id.startswith(_TEXT_ENTRY)


class OpenCard(Message, frozen=True, kw_only=True):
    """Enter a card before its first update."""

    entry: LedgerEntry
    reply: Reply[Done | Failed]


class NoteCard(Message, frozen=True, kw_only=True):
    """Update what is known of an open card. None leaves a field as it is.

    Where that has what other entries had until now, they are closed as complete in the same
    commit: a repair shows no text twice, and none is lost.
    """

    card_id: CardId
    message_id: MessageId | None = None
    text: str | None = None
    panels: bytes | None = None
    instead_of: tuple[CardId, ...] = ()
    at_ms: int
    reply: Reply[Done | Failed]


CardOutcome = Literal["complete", "aborted", "error", "lost"]


class CloseCard(Message, frozen=True, kw_only=True):
    """The card's final state was accepted, or the card is lost for good."""

    card_id: CardId
    outcome: CardOutcome
    instead_of: tuple[CardId, ...] = ()
    """Closed as complete in the same commit: of :class:`NoteCard`, where that failed."""
    at_ms: int
    reply: Reply[Done | Failed]


class CardTurn(msgspec.Struct, frozen=True, kw_only=True):
    session_id: SessionId
    turn_id: TurnId


class WhoseCard(Message, frozen=True, kw_only=True):
    """Ask which turn a message shows the card of; None for any other message."""

    message_id: MessageId
    reply: Reply[CardTurn | Failed | None]


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


class ChatKnownAs(msgspec.Struct, frozen=True, kw_only=True):
    """Whose chat it is, and of which kind, from the last message that was given of it."""

    account: AccountId
    chat: ChatKnown


class FindChat(Message, frozen=True, kw_only=True):
    """Ask what a chat is; None where no session was ever given a message of it."""

    chat_id: ChatId
    reply: Reply[ChatKnownAs | Failed | None]


class TurnPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session was given a message, and by whom: the last one there."""

    account: AccountId
    chat_id: ChatId
    thread_id: str | None
    chat_type: ChatType
    message_id: MessageId
    sender_id: OpenId
    topic: str | None = None
    """``thread_id`` where the topic is a place of its own."""


class FindTurnPlace(Message, frozen=True, kw_only=True):
    """Ask for the last place of a session, or for the one that is named."""

    session_id: SessionId
    account: AccountId | None
    chat_id: ChatId | None
    thread_id: str | None
    reply: Reply[TurnPlace | Failed | None]


class NoteSent(Message, frozen=True, kw_only=True):
    """A message of ours is out; it may be edited, answered and reacted to later."""

    message_id: MessageId
    account: AccountId
    chat_id: ChatId
    at_ms: int
    topic: str | None = None
    """Where its topic is a place of its own."""
    reply: Reply[Done | Failed]


class MessageAt(msgspec.Struct, frozen=True, kw_only=True):
    account: AccountId
    chat_id: ChatId
    ours: bool
    topic: str | None = None
    """Where its topic is a place of its own."""


class WhereIs(Message, frozen=True, kw_only=True):
    """Ask for account and chat of a message; None for one we do not know."""

    message_id: MessageId
    accounts: tuple[AccountId, ...]
    reply: Reply[MessageAt | Failed | None]


class UnansweredRow(msgspec.Struct, frozen=True, kw_only=True):
    row_id: RowId
    account: AccountId
    event_id: EventId
    attempt: int
    received_at_ms: int
    message_id: MessageId | None
    prompt: Prompt


class Unanswered(Message, frozen=True, kw_only=True):
    """Ask for rows this session was given and has not answered, oldest first."""

    session_id: SessionId
    chat_id: ChatId | None = None
    message_id: MessageId | None = None
    limit: int
    reply: Reply[tuple[UnansweredRow, ...] | Failed]


class GivenAttachment(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a message carries which a session was given."""

    account: AccountId
    message_id: MessageId
    attachment: Attachment


class FindAttachment(Message, frozen=True, kw_only=True):
    """Ask for what a row carries that this session was given, and has not answered."""

    session_id: SessionId
    event_id: EventId
    file_key: str
    reply: Reply[GivenAttachment | Failed | None]


class Overdue(Message, frozen=True, kw_only=True):
    """Ask, by session, how many rows were delivered before a moment and not answered."""

    delivered_before_ms: int
    reply: Reply[dict[SessionId, int] | Failed]


# ── approvals ───────────────────────────────────────────────────────────────


class ApprovalOpening(msgspec.Struct, frozen=True, kw_only=True):
    """How a card is sent. The same call again states which message it is, for an hour."""

    reply_to: MessageId
    """Empty where it is sent to its chat."""
    chat_id: ChatId
    in_thread: bool
    content_json: str
    sent_at_ms: int


class ApprovalLeft(msgspec.Struct, frozen=True, kw_only=True):
    """A card with buttons that is not in its last state, or is about to be sent."""

    entry_id: str
    """The request's key; of a question that was answered, its card's message."""
    account: AccountId
    last_card: str
    """Card JSON to show if a later start finds the entry."""
    message_id: MessageId | None = None
    """None while the platform has not answered."""
    opening: ApprovalOpening | None = None
    """There where *message_id* may be None."""


class EnterApproval(Message, frozen=True, kw_only=True):
    """Enter a card, or what is known of it now."""

    entry: ApprovalLeft
    reply: Reply[Done | Failed]


class ForgetApproval(Message, frozen=True, kw_only=True):
    entry_id: str
    reply: Reply[Done | Failed]


class ApprovalsLeft(Message, frozen=True, kw_only=True):
    reply: Reply[tuple[ApprovalLeft, ...] | Failed]


# ── Typing marks ────────────────────────────────────────────────────────────


class TypingEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A Typing mark that is on a message, or may be; each turn has its own."""

    message_id: MessageId
    turn_id: TurnId
    account: AccountId
    reaction_id: str | None = None
    """None: the platform has not answered yet."""
    term: int
    """Of the daemon that put it."""


class EnterTyping(Message, frozen=True, kw_only=True):
    """Enter a mark before it is put, and again when its id is known."""

    entry: TypingEntry
    reply: Reply[Done | Failed]


class ForgetTyping(Message, frozen=True, kw_only=True):
    """This turn's mark is taken away, or never was put."""

    message_id: MessageId
    turn_id: TurnId
    reply: Reply[Done | Failed]


class TypingLeft(Message, frozen=True, kw_only=True):
    """Ask for the marks of other terms than this one: what earlier runs left."""

    term: int
    reply: Reply[tuple[TypingEntry, ...] | Failed]


# ── calls of a month ──────────────────────────────────────────────────────────


class CountCalls(Message, frozen=True, kw_only=True):
    """Add to the calls an account has made in a month; answers how many there are now."""

    account: AccountId
    month: str
    """Such as ``2026-11``."""
    calls: int
    reply: Reply[int | Failed]


# ── who was paired ──────────────────────────────────────────────────────────


class LoadAccess(Message, frozen=True, kw_only=True):
    account: AccountId
    reply: Reply[AccessBook | Failed]


class SaveAccess(Message, frozen=True, kw_only=True):
    """Replace what is stored of the account's pairings by *book*."""

    account: AccountId
    book: AccessBook
    reply: Reply[Done | Failed]
