"""The journal's actor: one file, one thread, one commit for all that is waiting.

It takes a message, then whatever else is waiting, and lets the store commit them
together: alone an event costs one fsync, under load many events share one. Answers
go out after the commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar, TypeVarTuple

import msgspec
import trio

from actors.journal.store import Statistics, Store
from actors.kit.mailbox import drain
from actors.messages import journal

BATCH_MESSAGES_MAX: Final = 256
"""Of one commit: some 10 ms of work, so a question never waits long for a commit."""
CLOSE_WITHIN_S: Final = 5.0

ArgumentTs = TypeVarTuple("ArgumentTs")
ResultT = TypeVar("ResultT")


class RunSync(Protocol):
    """A way to run the store's methods, one at a time."""

    def __call__(
        self, function: Callable[[*ArgumentTs], ResultT], *args: *ArgumentTs
    ) -> Awaitable[ResultT]: ...


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    generation: int
    """How often this journal was opened, this time included; from 1."""
    statistics: Callable[[], Statistics]


async def run(
    path: Path | None,
    inbox: trio.MemoryReceiveChannel[journal.JournalMessage],
    *,
    run_sync: RunSync | None = None,
    task_status: trio.TaskStatus[Opened] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled or until nobody can ask any more, then close the file.

    *path* None keeps it in memory. *run_sync* is a thread of its own unless it is
    given: :func:`inline` for tests in virtual time, which a thread would not stop.

    Raises:
        JournalError: the file can't be opened; its text names the remedy.
    """
    in_thread = run_sync or _own_thread()
    store = await in_thread(Store.open, path)
    try:
        task_status.started(Opened(generation=store.generation, statistics=store.statistics))
        with inbox:
            try:
                async for first in inbox:
                    await _commit(first, inbox, store, in_thread)
            finally:
                drain(inbox)
    finally:
        # The thread itself can't be cut short; the deadline is what it should take.
        with trio.move_on_after(CLOSE_WITHIN_S, shield=True):
            await in_thread(store.close)


async def inline(function: Callable[[*ArgumentTs], ResultT], *args: *ArgumentTs) -> ResultT:
    """Run the store in the loop's own thread: nothing else runs meanwhile."""
    await trio.lowlevel.checkpoint()
    return function(*args)


def _own_thread() -> RunSync:
    """Return a way to run the store in a worker thread, one call at a time.

    A call is never abandoned: cancelled, we wait until its commit is done.
    """
    limiter = trio.CapacityLimiter(1)

    def in_thread(
        function: Callable[[*ArgumentTs], ResultT], *args: *ArgumentTs
    ) -> Awaitable[ResultT]:
        return trio.to_thread.run_sync(function, *args, limiter=limiter)

    return in_thread


async def _commit(
    first: journal.JournalMessage,
    inbox: trio.MemoryReceiveChannel[journal.JournalMessage],
    store: Store,
    in_thread: RunSync,
) -> None:
    """Commit *first* and all that waits after it, then answer."""
    with contextlib.ExitStack() as replies:
        batch = [first]
        replies.enter_context(first.reply)
        while len(batch) < BATCH_MESSAGES_MAX:
            try:
                message = inbox.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            replies.enter_context(message.reply)
            batch.append(message)
        answers = await in_thread(store.apply, batch)
        for message, answer in zip(batch, answers, strict=True):
            message.reply.send(answer)
