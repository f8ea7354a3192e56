"""What the console shows: one look a second while somebody watches, and an hour of samples."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
import trio

from actors.kit.mailbox import ActorGone, ask
from actors.messages import journal
from actors.monitoring.overview import NOTHING, Overview, look
from actors.monitoring.peers import Peers

SAMPLE_EVERY_S: Final = 10.0
SAMPLES_MAX: Final = 360
"""An hour."""
LOOK_EVERY_S: Final = 1.0


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the plots."""

    at_ms: int
    budget: float
    """The fullest endpoint's minute, as a share of its limit."""
    waiting: int
    cards: int
    oldest_card_s: float


class Recorder:
    """Looks for everybody who watches: ten of them cost no more than one."""

    def __init__(self, peers: Callable[[], Peers | None]) -> None:
        self._peers = peers
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self._seen: Overview = NOTHING
        self._looked_at = float("-inf")
        self._looking: trio.Event | None = None

    @property
    def peers(self) -> Peers | None:
        return self._peers()

    async def run(self) -> None:
        """Keep the hour of samples; never returns."""
        while True:
            peers = self._peers()
            if peers is not None:
                self._samples.append(_sample(await self.look(), peers.now_ms()))
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
                self._seen = await look(peers)
                self._looked_at = trio.current_time()
            finally:
                self._looking.set()
                self._looking = None
        return self._seen

    async def view(self) -> dict[str, Any]:
        """Return what the page draws."""
        seen = await self.look()
        status = dict(seen.status or {})
        return {
            "serving": seen.status is not None,
            "status": status,
            "cards": [_card(one) for one in seen.cards or ()],
            "budgets": [
                {"account": account, **msgspec.to_builtins(use)}
                for account, found in seen.gateways.items()
                if found is not None
                for use in found.budgets
            ],
            "samples": msgspec.to_builtins(list(self._samples)),
            "approvals": await self._approvals(),
        }

    async def _approvals(self) -> int | None:
        peers = self._peers()
        return None if peers is None else await waiting_approvals(peers)


async def waiting_approvals(peers: Peers) -> int | None:
    """Count the approvals that wait for a press; None: the journal does not answer."""
    try:
        answer: tuple[journal.ApprovalLeft, ...] | journal.Failed = await ask(
            peers.journal_tx,
            lambda reply: journal.ApprovalsLeft(reply=reply),
            within_s=LOOK_EVERY_S,
        )
    except (trio.TooSlowError, ActorGone):
        return None
    return None if isinstance(answer, journal.Failed) else len(answer)


def _card(entry: journal.LedgerEntry) -> dict[str, Any]:
    return {
        "card": entry.card_id,
        "account": entry.account,
        "chat": entry.chat_id,
        "turn": entry.turn_id,
        "session": entry.session_id,
        "opened_at": entry.opened_at_ms,
    }


def _sample(seen: Overview, now_ms: int) -> Sample:
    budgets = [
        use.in_minute / max(1, use.minute_max)
        for found in seen.gateways.values()
        if found is not None
        for use in found.budgets
    ]
    cards = seen.cards or ()
    oldest = min((one.opened_at_ms for one in cards), default=now_ms)
    return Sample(
        at_ms=now_ms,
        budget=round(max(budgets, default=0.0), 4),
        waiting=int((seen.status or {}).get("queue", {}).get("pending") or 0),
        cards=len(cards),
        oldest_card_s=max(0, now_ms - oldest) / 1000,
    )
