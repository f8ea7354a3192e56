"""The actor: one commit for all that waits, answers after it, and no question left hanging."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import journal as journal_actor
from actors.journal import SqliteStore
from actors.journal.given_up import ANSWERED_WITHIN_S
from actors.kit.mailbox import ActorGone, Answer, Reply, ask
from actors.messages import journal
from protocol.ids import RowId
from tests.actors.journal.client import append_message

MAILBOX_MESSAGES = 64
WITHIN_S = 60.0

Tx = trio.MemorySendChannel[journal.JournalMessage]
T = TypeVar("T")


async def append(
    tx: Tx, event: str, within_s: float = WITHIN_S
) -> journal.Appended | journal.Failed:
    answer: journal.Appended | journal.Failed = await ask(
        tx, lambda reply: append_message(event, reply=reply), within_s=within_s
    )
    return answer


@asynccontextmanager
async def serving(
    path: Path | None, *, run_sync: journal_actor.RunSync | None = None
) -> AsyncIterator[tuple[Tx, journal_actor.JournalOpened]]:
    tx, rx = trio.open_memory_channel[journal.JournalMessage](MAILBOX_MESSAGES)
    with tx, rx:
        async with trio.open_nursery() as nursery:
            opened: journal_actor.JournalOpened = await nursery.start(
                lambda task_status: journal_actor.run(
                    journal_actor.sqlite_store(path),
                    rx.clone(),
                    run_sync=run_sync,
                    task_status=task_status,
                )
            )
            yield tx, opened
            nursery.cancel_scope.cancel()


async def test_it_reports_started_with_the_generation_it_has_committed(path: Path) -> None:
    for expected in (1, 2):
        async with serving(path) as (_tx, opened):
            assert opened.generation == expected
            with closing(sqlite3.connect(path)) as other:
                stored = other.execute("SELECT value FROM meta WHERE key = 'generation'")
                assert stored.fetchone() == (expected,)


async def test_an_answer_speaks_of_what_is_committed(path: Path) -> None:
    async with serving(path) as (tx, _opened):
        for number in range(5):
            await append(tx, f"e{number}")
            with closing(sqlite3.connect(path)) as other:
                rows = other.execute("SELECT count(*) FROM inbound").fetchone()
            assert rows == (number + 1,)


async def test_many_at_once_share_few_commits_and_each_is_answered(path: Path) -> None:
    producers, each = 50, 10
    answers: list[journal.Appended | journal.Failed] = []

    async def produce(tx: Tx, producer: int) -> None:
        answers.extend([await append(tx, f"e{producer}.{number}") for number in range(each)])

    async with serving(path) as (tx, opened):
        async with trio.open_nursery() as nursery:
            for producer in range(producers):
                nursery.start_soon(produce, tx, producer)
        statistics = opened.statistics()
    rows = {answer.row_id for answer in answers if isinstance(answer, journal.Appended)}
    assert rows == set(range(1, producers * each + 1))
    assert statistics.messages == producers * each
    assert statistics.commits <= producers * each / 10
    assert statistics.batch_messages_max >= producers / 2


async def test_a_batch_has_a_limit() -> None:
    many = journal_actor.actor.BATCH_MESSAGES_MAX * 2 + 1
    tx, rx = trio.open_memory_channel[journal.JournalMessage](many)
    for number in range(many):
        tx.send_nowait(append_message(f"e{number}"))
    sizes: list[int] = []

    async def counting(function: Callable[..., T], *args: object) -> T:
        if function.__name__ == "apply":
            (batch,) = args
            assert isinstance(batch, list)
            sizes.append(len(batch))
        return await journal_actor.inline(function, *args)

    tx.close()
    await journal_actor.run(journal_actor.sqlite_store(None), rx, run_sync=counting)
    assert sizes == [256, 256, 1]


async def test_it_ends_when_nobody_can_ask_and_answers_all_before(path: Path) -> None:
    tx, rx = trio.open_memory_channel[journal.JournalMessage](MAILBOX_MESSAGES)
    waiting: list[Answer[journal.Appended]] = []
    for number in range(10):
        waiting.append(Answer())
        tx.send_nowait(append_message(f"e{number}", reply=Reply(waiting[-1])))
    tx.close()
    await journal_actor.run(journal_actor.sqlite_store(path), rx)
    assert [answer.receive_nowait().row_id for answer in waiting] == list(range(1, 11))


async def test_a_commit_under_way_when_it_is_cancelled_is_still_answered() -> None:
    in_the_thread = trio.Event()
    answers: list[journal.Appended | journal.Failed] = []

    async def held_up(function: Callable[..., T], *args: object) -> T:
        """Like a thread: not cut short by a cancellation, and no checkpoint after it."""
        if function.__name__ == "apply":
            in_the_thread.set()
            with trio.CancelScope(shield=True), trio.fail_after(WITHIN_S):
                await wait_all_tasks_blocked(0.01)
        return function(*args)

    async def asker(tx: Tx) -> None:
        answers.append(await append(tx, "e1"))

    async with trio.open_nursery() as askers, serving(None, run_sync=held_up) as (tx, _opened):
        askers.start_soon(asker, tx.clone())
        await in_the_thread.wait()
    assert answers == [journal.Appended(row_id=RowId(1), duplicate=False)]


async def test_who_waits_when_it_ends_is_answered_that_it_is_gone() -> None:
    """Those of the batch under way, and those still in the mailbox."""
    under_way = trio.Event()
    gone: list[int] = []

    async def never_done(function: Callable[..., T], *args: object) -> T:
        if function.__name__ == "apply":
            under_way.set()
            await trio.sleep_forever()
        return function(*args)

    async def asker(tx: Tx, number: int) -> None:
        with tx, pytest.raises(ActorGone):
            await append(tx, f"e{number}")
        gone.append(number)

    async with trio.open_nursery() as askers, serving(None, run_sync=never_done) as (tx, _opened):
        askers.start_soon(asker, tx.clone(), 1)
        await under_way.wait()
        for number in (2, 3, 4):
            askers.start_soon(asker, tx.clone(), number)
        await wait_all_tasks_blocked()
    assert sorted(gone) == [1, 2, 3, 4]


async def test_a_bug_in_the_middle_of_a_batch_leaves_nobody_waiting() -> None:
    gone: list[int] = []

    async def crashing(function: Callable[..., T], *args: object) -> T:
        if function.__name__ == "apply":
            raise ZeroDivisionError
        return function(*args)

    async def asker(tx: Tx, number: int) -> None:
        with pytest.raises(ActorGone):
            await append(tx, f"e{number}")
        gone.append(number)

    tx, rx = trio.open_memory_channel[journal.JournalMessage](MAILBOX_MESSAGES)
    with tx, rx:
        async with trio.open_nursery() as askers:
            for number in range(3):
                askers.start_soon(asker, tx, number)
            await wait_all_tasks_blocked()
            with pytest.raises(ZeroDivisionError):
                await journal_actor.run(
                    journal_actor.sqlite_store(None), rx.clone(), run_sync=crashing
                )
    assert sorted(gone) == [0, 1, 2]


async def test_when_it_ends_the_file_is_whole_by_itself(path: Path) -> None:
    async with serving(path) as (tx, _opened):
        await append(tx, "e1")
    assert [file.name for file in await trio.Path(path.parent).iterdir()] == [path.name]


async def test_a_failing_commit_is_an_answer_and_the_next_one_succeeds(path: Path) -> None:
    async with serving(path) as (tx, opened):
        assert isinstance(await append(tx, "e1"), journal.Appended)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await append(tx, "e2") == journal.Failed(reason="database is locked")
            other.execute("ROLLBACK")
        assert isinstance(await append(tx, "e2"), journal.Appended)
        assert opened.statistics().failed == 1
        assert opened.statistics().last_error == "database is locked"


async def test_a_journal_that_cannot_be_opened_ends_it_before_it_started(path: Path) -> None:
    await trio.Path(path).write_bytes(b"something else")
    tx, rx = trio.open_memory_channel[journal.JournalMessage](MAILBOX_MESSAGES)
    with tx, rx, pytest.raises(journal_actor.JournalForeign):
        await journal_actor.run(journal_actor.sqlite_store(path), rx)


async def test_in_line_it_serves_under_virtual_time(autojump_clock: MockClock) -> None:
    before = trio.current_time()
    async with serving(None, run_sync=journal_actor.inline) as (tx, _opened):
        for number in range(20):
            await append(tx, f"e{number}")
    assert trio.current_time() == before, "nobody waited for a thread"


async def test_the_loop_goes_on_during_a_commit(path: Path) -> None:
    """The commit waits for what the loop does next: where it ran there, it would in vain."""
    begun, may_end = threading.Event(), threading.Event()
    went_on: list[bool] = []

    class Held(SqliteStore):
        def apply(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
            begun.set()
            went_on.append(may_end.wait(WITHIN_S))
            return super().apply(batch)

    tx, rx = trio.open_memory_channel[journal.JournalMessage](MAILBOX_MESSAGES)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(journal_actor.run, partial(Held.open, path), rx))
        async with trio.open_nursery() as asking:
            asking.start_soon(append, tx, "e1")
            await trio.to_thread.run_sync(begun.wait)
            may_end.set()
        nursery.cancel_scope.cancel()
    assert went_on == [True]


def open_beating_store() -> SqliteStore:
    store = SqliteStore.open(None)
    store.beat_every_s = 0.5
    return store


async def test_a_store_with_a_beat_beats_soon_and_then_when_nothing_comes(
    autojump_clock: MockClock,
) -> None:
    """What confirmed a claim is old by the time its journal is opened."""
    began = trio.current_time()
    beats: list[float] = []

    async def noting(function: Callable[..., T], *args: object) -> T:
        if function.__name__ == "apply":
            assert args == ([],)
            beats.append(trio.current_time() - began)
        return await journal_actor.inline(function, *args)

    _tx, rx = trio.open_memory_channel[journal.JournalMessage](1)
    with trio.move_on_after(1.2):
        await journal_actor.run(open_beating_store, rx, run_sync=noting)
    assert beats == pytest.approx([0.05, 0.55, 1.05])


async def test_what_is_asked_at_the_start_is_the_first_beat(autojump_clock: MockClock) -> None:
    """A batch of its own before it would cost a successor two round trips."""
    sizes: list[int] = []

    async def noting(function: Callable[..., T], *args: object) -> T:
        if function.__name__ == "apply":
            (batch,) = args
            assert isinstance(batch, list)
            sizes.append(len(batch))
        return await journal_actor.inline(function, *args)

    tx, rx = trio.open_memory_channel[journal.JournalMessage](1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: journal_actor.run(open_beating_store, rx, run_sync=noting))
        await trio.sleep(0.01)
        await tx.send(append_message("e1"))
        await trio.sleep(0.6)
        nursery.cancel_scope.cancel()
    assert sizes == [1, 0]


async def test_once_given_up_nobody_waits_for_a_thread_that_hangs(path: Path) -> None:
    """What it had in hand, and whatever comes after, is answered; the actor ends after it."""
    tx, rx = trio.open_memory_channel[journal.JournalMessage](MAILBOX_MESSAGES)
    hangs, goes_on, given_up = trio.Event(), trio.Event(), trio.Event()
    ended: list[str] = []

    async def run_sync(function: Callable[..., T], *args: object) -> T:
        if function.__name__ == "apply" and args[0]:
            hangs.set()
            with trio.CancelScope(shield=True):  # a thread is not cut short
                await goes_on.wait()
            ended.append("the call")
        return function(*args)

    async def serve() -> None:
        await journal_actor.run(
            journal_actor.sqlite_store(path),
            rx,
            run_sync=run_sync,
            wait_given_up=given_up.wait,
        )
        ended.append("the actor")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with trio.open_nursery() as asking:
            asking.start_soon(append_failed, tx, "in hand")
            await hangs.wait()
            given_up.set()
        await append_failed(tx, "later")
        assert ended == []
        tx.close()
        await wait_all_tasks_blocked()
        assert ended == [], "it waits for the thread, which has the store"
        goes_on.set()
    assert ended == ["the call", "the actor"]


async def test_a_thread_that_never_comes_back_is_given_up(
    path: Path, autojump_clock: MockClock
) -> None:
    """Whoever waits for it, and whoever comes later, is answered that it failed."""
    tx, rx = trio.open_memory_channel[journal.JournalMessage](MAILBOX_MESSAGES)
    goes_on = trio.Event()

    async def run_sync(function: Callable[..., T], *args: object) -> T:
        if function.__name__ == "apply":
            with trio.CancelScope(shield=True):  # a thread is not cut short
                await goes_on.wait()
        return function(*args)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: journal_actor.run(
                journal_actor.sqlite_store(path),
                rx,
                run_sync=run_sync,
                wait_given_up=trio.sleep_forever,
            )
        )
        began = trio.current_time()
        await append_failed(tx, "in hand")
        assert trio.current_time() - began == pytest.approx(ANSWERED_WITHIN_S)
        await append_failed(tx, "later")
        assert trio.current_time() - began == pytest.approx(ANSWERED_WITHIN_S)
        goes_on.set()
        tx.close()


async def append_failed(tx: Tx, event: str) -> None:
    answer = await append(tx, event, within_s=2 * ANSWERED_WITHIN_S)
    assert isinstance(answer, journal.Failed)
    assert "the cluster is lost" in answer.reason
