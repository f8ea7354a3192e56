"""Cards that may have been sent, brought to their end beside the messages that replace them."""

from __future__ import annotations

from typing import Final

import structlog
import trio

from actors.turns.entity import CardEntity
from protocol.cards.card import View

END_WITHIN_S: Final = 300.0
"""Then the ledger keeps the card for the next start (``cards.md``)."""

log = structlog.get_logger()


class CardEnds:
    """The cards of one turn that are to end as they are, without its text."""

    def __init__(self) -> None:
        self._open: dict[CardEntity, View] = {}
        self._new: list[CardEntity] = []
        self._added = trio.Event()
        self._settled = trio.Event()

    def add(self, entity: CardEntity, view: View) -> None:
        """Bring *entity* to *view* from now on."""
        self._open[entity] = view
        self._new.append(entity)
        self._added.set()

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
        """Try with all that are left, side by side; the caller sets the deadline."""
        async with trio.open_nursery() as nursery:
            for entity in tuple(self._open):
                nursery.start_soon(self._end, entity)

    async def _end(self, entity: CardEntity) -> None:
        if await entity.end_as(self._open[entity], within_s=END_WITHIN_S):
            await entity.close("lost")
        else:
            log.warning("feishu.card.left_for_repair", **entity.ids())
        del self._open[entity]
        self._settled.set()
