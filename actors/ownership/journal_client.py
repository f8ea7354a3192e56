"""The journal as ownership uses it: questions with a deadline, and writes kept in order.

Part of the ownership actor. Its loop waits for the journal where a decision depends on
the commit, and nowhere else.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import structlog
import trio

from actors.kit.mailbox import ActorGone, Answer, Reply, put
from actors.messages import journal
from protocol.ids import RowId
from protocol.routing import lease
from protocol.routing.targets import Moved

COMMIT_WITHIN_S: Final = 4.0
"""Below the 5 s a link waits for its answer, so that it learns why."""
WRITE_AGAIN_WITHIN_S: Final = 10.0

log = structlog.get_logger()

AnswerT = TypeVar("AnswerT")
StoredOrFailed = journal.Done | journal.Failed
BuildWrite = Callable[[Reply[StoredOrFailed]], journal.JournalMessage]


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
        self._unconfirmed: deque[_Write] = deque()

    async def ask(
        self, build: Callable[[Reply[AnswerT]], journal.JournalMessage]
    ) -> AnswerT | journal.Failed:
        return await journal.ask_journal(self._journal_tx, build, within_s=COMMIT_WITHIN_S)

    async def send(self, build: BuildWrite) -> None:
        """Send what needs no answer; its order among the questions is kept."""
        answer: Answer[StoredOrFailed] = Answer()
        answer.close()
        await put(self._journal_tx, build(Reply(answer)))

    async def write(self, row_id: RowId, build: BuildWrite) -> None:
        """Change the state of a row: sent in order, and again until it is committed.

        Waits for capacity in the journal's mailbox only.
        """
        answer: Answer[StoredOrFailed] = Answer()
        await put(self._journal_tx, build(Reply(answer)))
        self._writing[row_id] += 1
        self._unconfirmed.append(_Write(row_id, answer, build, trio.current_time()))
        if len(self._unconfirmed) == 1:
            self._nursery.start_soon(self._confirm)

    async def write_lease(self, state: lease.LeaseState, moved: Moved) -> None:
        """Let the lease stand again as it was before a commit that may yet come about.

        Sent in order, so that it comes after that one.
        """
        answer: Answer[StoredOrFailed] = Answer()
        await put(
            self._journal_tx, journal.SaveLease(lease=state, moved=moved, reply=Reply(answer))
        )
        self._nursery.start_soon(_log_outcome, answer)

    @property
    def writing(self) -> frozenset[RowId]:
        """Rows whose state here the journal does not have yet."""
        return frozenset(self._writing)

    async def _confirm(self) -> None:
        """Take the answers in the order of the writes, which is the journal's, until none is due.

        One task for all of them: they share commits, so most are there when the first is.
        """
        while self._unconfirmed:
            write = self._unconfirmed[0]
            outcome: StoredOrFailed
            try:
                outcome = await write.answer.receive_by(write.sent_at + WRITE_AGAIN_WITHIN_S)
            except trio.TooSlowError:
                outcome = journal.Failed(reason="no answer")
            except ActorGone:
                outcome = journal.Failed(reason="dropped")
            del self._unconfirmed[0]
            if isinstance(outcome, journal.Failed):
                log.error("row.not_stored", row=write.row_id, reason=outcome.reason)
                self._nursery.start_soon(self._write_again, write)
            else:
                self._written(write.row_id)

    async def _write_again(self, write: _Write) -> None:
        await journal.ask_journal_until_stored(
            self._journal_tx, write.build, within_s=WRITE_AGAIN_WITHIN_S
        )
        self._written(write.row_id)

    def _written(self, row_id: RowId) -> None:
        self._writing[row_id] -= 1
        if not self._writing[row_id]:
            del self._writing[row_id]


class _Write(NamedTuple):
    """A change of a row that was sent to the journal and is not confirmed."""

    row_id: RowId
    answer: Answer[StoredOrFailed]
    build: BuildWrite
    sent_at: float


async def _log_outcome(answer: Answer[StoredOrFailed]) -> None:
    with answer, trio.move_on_after(WRITE_AGAIN_WITHIN_S), contextlib.suppress(ActorGone):
        outcome = await answer.receive()
        if isinstance(outcome, journal.Failed):
            log.error("lease.not_restored", reason=outcome.reason)
