"""The journal's actor: one store, one thread, one commit for all that is waiting.

It takes a message, then whatever else is waiting, and lets the store commit them
together: alone an event costs one fsync, under load many events share one. Answers
go out after the commit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, TypeVarTuple

import msgspec
import trio

from actors.journal.given_up import GivenUp, RunSync, waited_for
from actors.journal.store import JournalStatistics, OpenStore, Store
from actors.kit import metrics
from actors.kit.mailbox import drain, taken
from actors.kit.own_thread import OwnThread
from actors.messages import journal
from protocol.routing.delivery import CLOSED_STATES, RowState

COMMIT: Final = metrics.histogram(
    "larkd_journal_commit_seconds", "How long a batch's commit takes.", metrics.FAST_S
)
CLOSED: Final = metrics.counter(
    "larkd_rows_closed", "Messages nothing more is done with, by the state they ended in.", "state"
)
for _state in CLOSED_STATES:
    CLOSED.labels(_state)  # shown from the start, as 0
BATCH_MESSAGES_MAX: Final = 256
"""Of one commit: some 10 ms of work, so a question never waits long for a commit."""
CLOSE_WITHIN_S: Final = 5.0
FIRST_BEAT_AFTER_S: Final = 0.05
"""What is asked at the start is a beat itself, and waits for none before it."""

ArgumentTs = TypeVarTuple("ArgumentTs")
ResultT = TypeVar("ResultT")


class JournalOpened(msgspec.Struct, frozen=True, kw_only=True):
    generation: int
    """How often this journal was opened, this time included; from 1."""
    statistics: Callable[[], JournalStatistics]


async def run(
    open_store: OpenStore,
    inbox: trio.MemoryReceiveChannel[journal.JournalMessage],
    *,
    run_sync: RunSync | None = None,
    after_batch: Callable[[], None] = lambda: None,
    wait_given_up: Callable[[], Awaitable[None]] | None = None,
    task_status: trio.TaskStatus[JournalOpened] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled or until nobody can ask any more, then close the store.

    *run_sync* is a thread of its own unless it is given: :func:`inline` for tests in
    virtual time, which a thread would not stop. *after_batch* is called in the loop when
    a batch was tried, and before its answers are sent. Once *wait_given_up* returns, every
    message is answered that it failed, also where the thread still waits for its server: only
    the end of this actor waits for that.

    Raises:
        JournalError: the store can't be opened; its text names the remedy.
    """
    in_thread = run_sync or own_thread()
    store = await in_thread(open_store)
    try:
        task_status.started(JournalOpened(generation=store.generation, statistics=store.statistics))
        with inbox:
            try:
                async with waited_for(in_thread, wait_given_up) as run_store:
                    await _serve(inbox, store, run_store, after_batch)
            finally:
                drain(inbox)
    finally:
        # The thread itself can't be cut short; the deadline is what it should take.
        with trio.move_on_after(CLOSE_WITHIN_S, shield=True):
            await in_thread(store.close)
        if isinstance(in_thread, OwnThread):
            in_thread.close()


async def _serve(
    inbox: trio.MemoryReceiveChannel[journal.JournalMessage],
    store: Store,
    in_thread: RunSync,
    after_batch: Callable[[], None],
) -> None:
    """Commit what comes until nobody can send; without messages, an empty batch when due.

    The first is due as soon as nobody asks anything: what confirmed the claim was sent before
    the journal was migrated, and who waits for another beat may be frozen by then.
    """
    due_s = None if store.beat_every_s is None else FIRST_BEAT_AFTER_S
    while True:
        try:
            first = await _next(inbox, due_s)
        except trio.EndOfChannel:
            return
        due_s = store.beat_every_s
        await _commit([] if first is None else [first], inbox, store, in_thread, after_batch)


async def _next(
    inbox: trio.MemoryReceiveChannel[journal.JournalMessage], due_s: float | None
) -> journal.JournalMessage | None:
    """Return the next message; None where an empty batch is due first."""
    if due_s is None:
        return await inbox.receive()
    with trio.move_on_after(due_s):
        return await inbox.receive()
    return None


async def inline(function: Callable[[*ArgumentTs], ResultT], *args: *ArgumentTs) -> ResultT:
    """Run the store in the loop's own thread: nothing else runs meanwhile."""
    await trio.lowlevel.checkpoint()
    return function(*args)


def own_thread() -> RunSync:
    """Return a way to run the store in a thread of its own, one call at a time.

    A call is never abandoned: cancelled, we wait until its commit is done.
    """
    return OwnThread("journal")


async def _commit(
    messages: list[journal.JournalMessage],
    inbox: trio.MemoryReceiveChannel[journal.JournalMessage],
    store: Store,
    in_thread: RunSync,
    after_batch: Callable[[], None],
) -> None:
    """Commit what was taken and all that waits after it, then answer."""
    try:
        # Whoever is about to run may have something for this commit, which costs many turns.
        await trio.lowlevel.checkpoint()
        while len(messages) < BATCH_MESSAGES_MAX and (message := taken(inbox)) is not None:
            messages.append(message)
        # Their askers count them as failed: an offer would give a row to nobody, a lease
        # would stand that nobody was notified of.
        batch = [
            one
            for one in messages
            if not (isinstance(one, journal.OfferNext | journal.SaveLease) and one.reply.abandoned)
        ]
        began = trio.current_time()
        try:
            answers = await in_thread(store.apply, batch)
        except GivenUp as lost:
            answers = [journal.Failed(reason=str(lost))] * len(batch)
        COMMIT.observe(trio.current_time() - began)
        after_batch()
        for message, answer in zip(batch, answers, strict=True):
            _count(message, answer)
            message.reply.send(answer)
    finally:
        for message in messages:
            message.reply.close()


def _count(message: journal.JournalMessage, answer: object) -> None:
    """Count the rows that were closed, by the state they will stay in."""
    match message, answer:
        case journal.Close(state=state), journal.Done(changed=True):
            CLOSED.labels(state).inc()
        case journal.DropMessage(), journal.Done(changed=True):
            CLOSED.labels(RowState.EXPIRED).inc()
        case journal.DropWaiting(), tuple(dropped):
            CLOSED.labels(RowState.EXPIRED).inc(len(dropped))
