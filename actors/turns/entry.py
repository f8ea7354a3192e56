"""One entry of the card ledger: opened, noted while what it is about changes, closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from actors.messages import journal
from actors.turns.client import TurnClient
from actors.turns.closing import close_entry
from protocol.cards.turn import TurnState
from protocol.ids import CardId, MessageId

LAST_CLOSE_WITHIN_S: Final = 300.0
"""So long an entry is closed where nothing waits for it."""
ENTER_AGAIN_S: Final = 0.5


class LedgerNotes:
    """The entry of one card, or of a turn without one.

    A journal that can't take it keeps nobody from going on: the next start repairs what
    it knows. One entry has a text at any time: that of a card that was sent takes over what
    another had, in the commit that closes the other.
    """

    def __init__(
        self,
        client: TurnClient,
        card_id: CardId,
        closed: Callable[[journal.CardOutcome], None] = lambda _outcome: None,
    ) -> None:
        """*closed* is called when the entry was closed, once."""
        self._client = client
        self.card_id = card_id
        self._note_closed = closed
        self._message_id: MessageId | None = None
        self._begun = False  # entered, or it may be
        self._entered = False
        self._over = False
        self._closed = False
        self._noted: tuple[MessageId | None, str, bytes] = (None, "", b"")
        self._instead_of: list[LedgerNotes] = []
        """Entries that are open until a commit of this one closes them."""

    def take_over(self, other: LedgerNotes) -> None:
        """Have the text of *other*, in which nothing more is noted, from the next note on."""
        other._over = True
        if other._begun and not other._closed:
            self._instead_of.append(other)
        self._instead_of += other._instead_of
        other._instead_of = []

    async def enter(self, text: str = "", panels: bytes = b"") -> None:
        """Open the entry, once; where the journal fails, :meth:`note` does it."""
        if self._entered or self._over:
            return
        self._begun = True
        opening = self._client.opening
        entry = journal.LedgerEntry(
            card_id=self.card_id,
            account=opening.account,
            chat_id=opening.chat_id,
            turn_id=opening.turn_id,
            session_id=opening.session_id,
            session_alias=opening.alias,
            opened_at_ms=self._client.peers.now_ms(),
            message_id=self._message_id,
            term=self._client.peers.term,
            text=text,
            panels=panels,
        )
        if await self._client.ledger(lambda reply: journal.OpenCard(entry=entry, reply=reply)):
            self._entered = True
            self._noted = (self._message_id, text, panels)

    async def enter_before_sent(self) -> None:
        """Open the entry; in a cluster until it is open, for who follows must know of the card.

        Cancelled with its turn, which then has shown nothing.
        """
        await self.enter()
        while self._client.peers.may_be_followed and not (self._entered or self._over):
            await trio.sleep(ENTER_AGAIN_S)
            await self.enter()

    def sent_as(self, message_id: MessageId) -> None:
        """The card is there; noted with what it shows."""
        self._message_id = message_id

    async def note(self, text: str, panels: bytes) -> None:
        """Keep what a repair is to show, where it has changed."""
        shown = (self._message_id, text, panels)
        if self._over or not self._begun or (self._noted == shown and not self._instead_of):
            return
        await self.enter()
        if not self._entered:
            return  # what others have is safe with them
        noted_message, noted_text, noted_panels = self._noted
        instead_of = tuple(self._instead_of)
        if await self._client.ledger(
            lambda reply: journal.NoteCard(
                card_id=self.card_id,
                message_id=shown[0] if shown[0] != noted_message else None,
                text=text if text != noted_text else None,
                panels=panels if panels != noted_panels else None,
                instead_of=_ids(instead_of),
                at_ms=self._client.peers.now_ms(),
                reply=reply,
            )
        ):
            self._noted = shown
            self._were_closed(instead_of)

    def is_closed(self, outcome: journal.CardOutcome) -> None:
        """A commit has closed it, its own or of the entry that stands for it."""
        self._closed = True
        self._note_closed(outcome)

    def _were_closed(self, others: tuple[LedgerNotes, ...]) -> None:
        for other in others:
            if other in self._instead_of:
                self._instead_of.remove(other)
                other.is_closed("complete")

    async def close(self, outcome: journal.CardOutcome, *, within_s: float) -> bool:
        """Close the entry; nothing more is noted. Return whether none is open any more.

        Tried for *within_s*, which is long where nothing waits for it: the next start would
        show what is left open as interrupted, and an orderly end would count it.
        """
        self._over = True
        if self._begun and not self._closed:
            instead_of = tuple(self._instead_of)
            closed = await close_entry(
                self._client.peers,
                self.card_id,
                outcome,
                within_s=within_s,
                instead_of=_ids(instead_of),
            )
            if closed and not self._closed:
                self.is_closed(outcome)
                self._were_closed(instead_of)
        return self._closed or not self._begun


def _ids(entries: tuple[LedgerNotes, ...]) -> tuple[CardId, ...]:
    return tuple(entry.card_id for entry in entries)


def outcome_of(state: TurnState) -> journal.CardOutcome:
    """Return how an entry is closed when all of its turn was shown."""
    match state:
        case TurnState.COMPLETE:
            return "complete"
        case TurnState.ERROR:
            return "error"
        case _:
            return "aborted"
