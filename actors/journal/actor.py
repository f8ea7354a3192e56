"""The journal's actor: one file, one thread, one commit for all that is waiting.

It takes a message, then whatever else is waiting, and lets the store commit them
together: alone an event costs one fsync, under load many events share one. Answers
go out after the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from actors.journal.store import Store
from actors.messages import journal

BATCH_MESSAGES_MAX: Final = 256
"""Of one commit: some 10 ms of work, so a question never waits long for a commit."""
CLOSE_WITHIN_S: Final = 5.0


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    generation: int


async def run(
    path: Path,
    inbox: trio.MemoryReceiveChannel[journal.JournalMessage],
    *,
    task_status: trio.TaskStatus[Opened] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, then close the file.

    Raises:
        JournalError: the file can't be opened; its text names the remedy.
    """
    in_thread = _own_thread()
    store: Store = await in_thread(Store.open, path)
    try:
        task_status.started(Opened(generation=store.generation))
        with inbox:
            async for first in inbox:
                batch = [first, *_waiting(inbox)]
                answers = await in_thread(store.apply, batch)
                _answer(batch, answers)
    finally:
        with trio.move_on_after(CLOSE_WITHIN_S, shield=True):
            await in_thread(store.close)


def _own_thread() -> Callable[..., Any]:
    """Return a way to run the store's methods, one at a time, in a worker thread.

    A call is never abandoned: cancelled, we wait until its commit is done.
    """
    limiter = trio.CapacityLimiter(1)

    async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
        return await trio.to_thread.run_sync(function, *args, limiter=limiter)

    return in_thread


def _waiting(
    inbox: trio.MemoryReceiveChannel[journal.JournalMessage],
) -> Sequence[journal.JournalMessage]:
    waiting: list[journal.JournalMessage] = []
    while len(waiting) < BATCH_MESSAGES_MAX - 1:
        try:
            waiting.append(inbox.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            break
    return waiting


def _answer(batch: Sequence[journal.JournalMessage], answers: Sequence[Any]) -> None:
    for message, answer in zip(batch, answers, strict=True):
        message.reply.send(answer)
