"""What the console shows: one look a second while somebody watches, and an hour of samples."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
import trio

from actors.kit import metrics
from actors.monitoring import view
from actors.monitoring.names import Names
from actors.monitoring.overview import NOTHING, Overview, look
from actors.monitoring.peers import Peers

SAMPLE_EVERY_S: Final = 10.0
SAMPLES_MAX: Final = 360
"""An hour."""
LOOK_EVERY_S: Final = 1.0
LISTED_MAX: Final = 50
"""Rows and chats of each kind; more fit no page."""
STALENESS: Final = "larkd_card_staleness_seconds"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the plots."""

    at_ms: int
    budget: float
    """The fullest endpoint's minute, as a share of its limit."""
    waiting: int
    cards: int
    staleness_s: float | None
    """How long, on average, cards showed a text before newer text replaced it, since the
    last sample; None: no text was replaced."""


class Recorder:
    """Looks for everybody who watches: ten of them cost no more than one."""

    def __init__(self, peers: Callable[[], Peers | None]) -> None:
        self._peers = peers
        self._names = Names(peers)
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self._seen: Overview = NOTHING
        self._looked_at = float("-inf")
        self._looking: trio.Event | None = None
        self._staleness = _staleness()

    @property
    def peers(self) -> Peers | None:
        return self._peers()

    async def run(self) -> None:
        """Keep the hour of samples, and the names of what is shown; never returns."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._names.run)
            while True:
                peers = self._peers()
                if peers is not None:
                    self._samples.append(self._sample(await self.look(), peers.now_ms()))
                await trio.sleep(SAMPLE_EVERY_S)

    async def look(self) -> Overview:
        """Return an overview not older than a second."""
        if self._looking is not None:
            await self._looking.wait()
        peers = self._peers()
        if peers is None:
            return NOTHING
        if trio.current_time() - self._looked_at >= LOOK_EVERY_S:
            self._looking = trio.Event()
            try:
                self._seen = await look(peers, rows=LISTED_MAX)
                self._looked_at = trio.current_time()
            finally:
                self._looking.set()
                self._looking = None
        return self._seen

    async def view(self, *, texts: bool) -> dict[str, Any]:
        """Return what the page draws; *texts*: also what people wrote, and what is asked."""
        seen = await self.look()
        names = self._names.of(view.chats_of(seen))
        return {
            **view.drawn(seen, names, texts=texts),
            "samples": msgspec.to_builtins(list(self._samples)),
        }

    def _sample(self, seen: Overview, now_ms: int) -> Sample:
        budgets = [
            use.in_minute / max(1, use.minute_max)
            for found in seen.gateways.values()
            if found is not None
            for use in found.budgets
        ]
        count_before, sum_before = self._staleness
        self._staleness = count, total = _staleness()
        replaced = count - count_before
        return Sample(
            at_ms=now_ms,
            budget=round(max(budgets, default=0.0), 4),
            waiting=int((seen.status or {}).get("queue", {}).get("pending") or 0),
            cards=len(seen.cards or ()),
            staleness_s=round((total - sum_before) / replaced, 3) if replaced else None,
        )


def _staleness() -> tuple[float, float]:
    """Return how many texts were replaced since the start, and the sum of their ages."""
    count = metrics.REGISTRY.get_sample_value(f"{STALENESS}_count")
    total = metrics.REGISTRY.get_sample_value(f"{STALENESS}_sum")
    return count or 0.0, total or 0.0
