"""Shutdown: the order in which the daemon stops.

It only decides when. That every card becomes final, and that users end before the
services they use, holds by construction: the lanes finish their cards on the way
out whatever ends them, and gateways and journal live in nurseries outside of them.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterable, Callable, Sequence
from typing import Final

import structlog
import trio

from actors.app.adapters import Adapters
from actors.kit.cleanup import CleanupBudget
from actors.kit.mailbox import ActorGone, ask, offer
from actors.messages import connection, journal, lane, ownership, shutdown

NOTIFY_WITHIN_S: Final = 1.5
SECOND_SIGNAL_BUDGET_S: Final = 1.0
WATCHDOG_MARGIN_S: Final = 10.0
"""Beyond the cards' deadline: notifying, closing sockets, the journal's last commit."""

LEDGER_WITHIN_S: Final = 2.0

log = structlog.get_logger()


class Coordinator:
    """Receives requests to leave: the first decides, later ones shorten the deadline."""

    def __init__(
        self,
        inbox: trio.MemoryReceiveChannel[shutdown.ShutdownMessage],
        cards_budget: CleanupBudget,
        running: trio.CancelScope,
        adapters: Adapters,
    ) -> None:
        self._inbox = inbox
        self._cards_budget = cards_budget
        self._running = running
        self._adapters = adapters
        self.exit_status: int | None = None
        """What the first request to leave asked for; None before it."""
        self.signalled = False
        """Whether a signal asked the process to end."""
        self._disarm: Callable[[], None] | None = None

    async def run(
        self,
        own: trio.MemorySendChannel[shutdown.ShutdownMessage],
        connections: Sequence[trio.MemorySendChannel[connection.ConnectionMessage]],
        lanes_tx: trio.MemorySendChannel[lane.LaneMessage],
        ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled, also while the daemon stops: a second signal counts."""
        with self._adapters.signals() as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay_signals, signals, own)
                task_status.started()
                async for request in self._inbox:
                    self.signalled = self.signalled or request.by_signal
                    if self.exit_status is not None:
                        log.info("daemon.deadline_shortened", reason=request.reason)
                        self._cards_budget.shorten(SECOND_SIGNAL_BUDGET_S)
                        continue
                    self.exit_status = request.exit_status
                    log.info("daemon.stopping", reason=request.reason)
                    self._disarm = self._adapters.arm_watchdog(
                        self._cards_budget.seconds + WATCHDOG_MARGIN_S, what="leaving"
                    )
                    nursery.start_soon(
                        self._leave, connections, lanes_tx, ownership_tx, request.lost
                    )

    def left(self) -> None:
        """Note that nothing of this run is left: its watchdog is taken off."""
        if self._disarm is not None:
            self._disarm()

    async def _leave(
        self,
        connections: Sequence[trio.MemorySendChannel[connection.ConnectionMessage]],
        lanes_tx: trio.MemorySendChannel[lane.LaneMessage],
        ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage],
        lost: bool,
    ) -> None:
        """Stop accepting; cancel the turns; send bye; then let the tree unwind.

        Whoever is late with one of them does not keep the others from the next.
        """
        for mailbox in connections:
            offer(mailbox, connection.Disconnect())

        async def cancel_turns() -> None:
            await ask(lanes_tx, lambda reply: lane.StopAll(reply=reply), within_s=NOTIFY_WITHIN_S)

        async def send_bye() -> None:
            await ask(
                ownership_tx,
                lambda reply: ownership.Leaving(reply=reply),
                within_s=NOTIFY_WITHIN_S,
            )

        try:
            for notify in (send_bye,) if lost else (cancel_turns, send_bye):
                try:
                    await notify()
                except (trio.TooSlowError, ActorGone) as late:
                    log.warning("daemon.peers_not_notified", reason=repr(late))
        finally:
            self._running.cancel(reason="leaving")


async def relay_signals(
    signals: AsyncIterable[int], own: trio.MemorySendChannel[shutdown.ShutdownMessage]
) -> None:
    """Ask to leave at each signal; at SIGHUP once. Runs until *signals* end."""
    hung_up = False
    async for number in signals:
        if number == signal.SIGHUP and hung_up:
            continue  # both the kernel and the shell send it when a terminal closes
        hung_up = hung_up or number == signal.SIGHUP
        offer(
            own, shutdown.Leave(exit_status=0, reason=signal.Signals(number).name, by_signal=True)
        )


async def cards_left_open(journal_tx: trio.MemorySendChannel[journal.JournalMessage]) -> int:
    """Count the cards still in the ledger; what this leaves the next start repairs."""
    with trio.move_on_after(LEDGER_WITHIN_S + 1, shield=True):
        answer: tuple[journal.LedgerEntry, ...] | journal.Failed = await journal.ask_journal(
            journal_tx, lambda reply: journal.OpenCards(reply=reply), within_s=LEDGER_WITHIN_S
        )
        return 0 if isinstance(answer, journal.Failed) else sum(one.is_card for one in answer)
    return 0
