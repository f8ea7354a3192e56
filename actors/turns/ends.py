"""Cards that are over before their turn, brought to their end beside the messages that follow.

One that may have been sent, one that lost its scope, one that the platform answers is gone:
whatever it shows, it is not to look as if something came.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio
from msgspec import Struct

from actors.messages import journal
from actors.turns.entity import GONE_AGAIN_S, CardEntity
from actors.turns.entry import LAST_CLOSE_WITHIN_S
from protocol.cards.card import View

END_WITHIN_S: Final = 300.0
"""Then the ledger keeps the card for the next start (``cards.md``)."""

log = structlog.get_logger()


class _End(Struct):
    entity: CardEntity
    view: View | None
    """None: it shows its end already."""
    close_as: journal.CardOutcome | None
    """How its entry is closed when it has ended; None: somebody else does that."""


class CardEnds:
    """The cards of one turn that are to end without it."""

    def __init__(self) -> None:
        self._open: list[_End] = []
        self._new: list[_End] = []
        self._left: list[CardEntity] = []
        self._added = trio.Event()
        self._settled = trio.Event()

    def add(
        self, entity: CardEntity, view: View, close_as: journal.CardOutcome | None = None
    ) -> None:
        """Bring *entity* to *view* from now on."""
        self._begin(_End(entity, view, close_as))

    def close(self, entity: CardEntity, outcome: journal.CardOutcome) -> None:
        """Close the entry of a card that has ended, as soon as the journal can."""
        self._begin(_End(entity, None, outcome))

    def _begin(self, end: _End) -> None:
        self._open.append(end)
        self._new.append(end)
        self._added.set()

    def closes(self, entity: CardEntity, outcome: journal.CardOutcome) -> bool:
        """Take over the closing of an entry, for a card that has not ended yet.

        False: it has ended, and can be closed.
        """
        for end in self._open:
            if end.entity is entity:
                end.close_as = outcome
                return True
        return entity in self._left

    async def run(self) -> None:
        """Try for five minutes with each; for ever, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._added.wait()
                self._added = trio.Event()
                while self._new:
                    nursery.start_soon(self._end, self._new.pop())

    async def settle(self) -> None:
        """Wait until each has ended, or is left to the next start."""
        while self._open:
            self._settled = trio.Event()
            await self._settled.wait()

    async def finish(self) -> None:
        """Try with all that are left, side by side; the caller sets the deadline, 5 s or less."""
        async with trio.open_nursery() as nursery:
            for end in self._open:
                nursery.start_soon(self._end, end, GONE_AGAIN_S[:2])

    async def _end(self, end: _End, gone_again_s: tuple[float, ...] = GONE_AGAIN_S) -> None:
        entity = end.entity
        if end.view is not None and not await self._ended(entity, end.view, gone_again_s):
            self._left.append(entity)
            log.warning("feishu.card.left_for_repair", **entity.ids())
        elif end.close_as is not None:
            await entity.entry.close(end.close_as, within_s=LAST_CLOSE_WITHIN_S)
        self._open.remove(end)
        self._settled.set()

    async def _ended(self, entity: CardEntity, view: View, gone_again_s: tuple[float, ...]) -> bool:
        ended = await entity.end_as(view, within_s=END_WITHIN_S, gone_again_s=gone_again_s)
        return ended != "live"
