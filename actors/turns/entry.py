"""One entry of the card ledger: opened, noted while what it is about changes, closed."""

from __future__ import annotations

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
    it knows.
    """

    def __init__(self, client: TurnClient, card_id: CardId) -> None:
        self._client = client
        self._card_id = card_id
        self._message_id: MessageId | None = None
        self._begun = False  # entered, or it may be
        self._entered = False
        self._over = False
        self._closed = False
        self._noted: tuple[str, bytes] = ("", b"")

    @property
    def is_open(self) -> bool:
        """Whether the next start would repair it, as far as is known."""
        return self._begun and not self._closed

    async def enter(self, text: str = "", panels: bytes = b"") -> None:
        """Open the entry, once; where the journal fails, :meth:`note` does it."""
        if self._entered or self._over:
            return
        self._begun = True
        opening = self._client.opening
        entry = journal.LedgerEntry(
            card_id=self._card_id,
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
            self._noted = (text, panels)

    async def enter_before_sent(self) -> None:
        """Open the entry; in a cluster until it is open, for who follows must know of the card.

        Cancelled with its turn, which then has shown nothing.
        """
        await self.enter()
        while self._client.peers.may_be_followed and not (self._entered or self._over):
            await trio.sleep(ENTER_AGAIN_S)
            await self.enter()

    async def sent_as(self, message_id: MessageId) -> None:
        self._message_id = message_id
        await self._note(message_id=message_id)

    async def note(self, text: str, panels: bytes) -> None:
        """Keep what a repair is to show, where it has changed."""
        if self._over or not self._begun or self._noted == (text, panels):
            return
        await self.enter()
        noted_text, noted_panels = self._noted
        if await self._note(
            text=text if text != noted_text else None,
            panels=panels if panels != noted_panels else None,
        ):
            self._noted = (text, panels)

    async def _note(
        self,
        *,
        message_id: MessageId | None = None,
        text: str | None = None,
        panels: bytes | None = None,
    ) -> bool:
        return await self._client.ledger(
            lambda reply: journal.NoteCard(
                card_id=self._card_id, message_id=message_id, text=text, panels=panels, reply=reply
            )
        )

    async def close(self, outcome: journal.CardOutcome, *, within_s: float) -> bool:
        """Close the entry; nothing more is noted. Return whether none is open any more.

        Tried for *within_s*, which is long where nothing waits for it: the next start would
        show what is left open as interrupted, and an orderly end would count it.
        """
        self._over = True
        if self._begun and not self._closed:
            self._closed = await close_entry(
                self._client.peers, self._card_id, outcome, within_s=within_s
            )
        return self._closed or not self._begun


def outcome_of(state: TurnState) -> journal.CardOutcome:
    """Return how an entry is closed when all of its turn was shown."""
    match state:
        case TurnState.COMPLETE:
            return "complete"
        case TurnState.ERROR:
            return "error"
        case _:
            return "aborted"
