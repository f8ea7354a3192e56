"""The journal as ownership uses it: questions with a deadline, and writes kept in order.

Part of the ownership actor. Its loop waits for the journal where a decision depends on
the commit, and nowhere else.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

import structlog
import trio

from actors.kit.mailbox import Reply, offer
from actors.messages import journal
from protocol.ids import PlaceKey, RowId
from protocol.routing import lease

COMMIT_WITHIN_S: Final = 4.0
"""Below the 5 s a link waits for its answer, so that it learns why."""
WRITE_AGAIN_WITHIN_S: Final = 10.0

log = structlog.get_logger()

AnswerT = TypeVar("AnswerT")
Outcome = journal.Done | journal.Failed
BuildWrite = Callable[[Reply[Outcome]], journal.JournalMessage]


class JournalClient:
    """Questions; one that is late or gone is a failure like any other. And writes."""

    def __init__(
        self,
        journal_tx: trio.MemorySendChannel[journal.JournalMessage],
        nursery: trio.Nursery,
    ) -> None:
        self._journal_tx = journal_tx
        self._nursery = nursery
        self._writing: Counter[RowId] = Counter()

    async def ask(
        self, build: Callable[[Reply[AnswerT]], journal.JournalMessage]
    ) -> AnswerT | journal.Failed:
        return await journal.ask_journal(self._journal_tx, build, within_s=COMMIT_WITHIN_S)

    async def send(self, build: BuildWrite) -> None:
        """Send what needs no answer; its order among the questions is kept."""
        tx, rx = trio.open_memory_channel[Outcome](1)
        rx.close()
        message = build(Reply(tx))
        if not offer(self._journal_tx, message):  # as a rule there is capacity: no turn of the loop
            await self._journal_tx.send(message)

    async def write(self, row_id: RowId, build: BuildWrite) -> None:
        """Change the state of a row: sent in order, and again until it is committed.

        Waits for capacity in the journal's mailbox only.
        """
        tx, rx = trio.open_memory_channel[Outcome](1)
        await self._journal_tx.send(build(Reply(tx)))
        self._writing[row_id] += 1
        self._nursery.start_soon(self._confirm, row_id, rx, build)

    async def write_lease(self, state: lease.LeaseState, moved: frozenset[PlaceKey]) -> None:
        """Let the lease stand again as it was before a commit that may yet come about.

        Sent in order, so that it comes after that one.
        """
        tx, rx = trio.open_memory_channel[Outcome](1)
        await self._journal_tx.send(journal.SaveLease(lease=state, moved=moved, reply=Reply(tx)))
        self._nursery.start_soon(_log_outcome, rx)

    @property
    def writing(self) -> frozenset[RowId]:
        """Rows whose state here the journal does not have yet."""
        return frozenset(self._writing)

    async def _confirm(
        self, row_id: RowId, rx: trio.MemoryReceiveChannel[Outcome], build: BuildWrite
    ) -> None:
        outcome: Outcome = journal.Failed(reason="no answer")
        with rx, trio.move_on_after(WRITE_AGAIN_WITHIN_S):
            try:
                outcome = await rx.receive()
            except trio.EndOfChannel:
                outcome = journal.Failed(reason="dropped")
        if isinstance(outcome, journal.Failed):
            log.error("row.not_stored", row=row_id, reason=outcome.reason)
            await journal.ask_journal_until_stored(
                self._journal_tx, build, within_s=WRITE_AGAIN_WITHIN_S
            )
        self._writing[row_id] -= 1
        if not self._writing[row_id]:
            del self._writing[row_id]


async def _log_outcome(rx: trio.MemoryReceiveChannel[Outcome]) -> None:
    with rx, trio.move_on_after(WRITE_AGAIN_WITHIN_S), contextlib.suppress(trio.EndOfChannel):
        outcome = await rx.receive()
        if isinstance(outcome, journal.Failed):
            log.error("lease.not_restored", reason=outcome.reason)
