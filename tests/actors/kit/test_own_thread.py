"""Work in a thread of its own: in order, to its end, with what it returned or raised."""

from __future__ import annotations

import threading

import pytest
import trio

from actors.kit.own_thread import OwnThread


async def test_calls_run_in_one_thread_in_order_and_return() -> None:
    run = OwnThread("test")
    done: list[int] = []

    async def one(number: int) -> None:
        await run(done.append, number)
        assert await run(threading.get_ident) != here

    here = threading.get_ident()
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(one, number)
    assert sorted(done) == list(range(5))
    idents = {await run(threading.get_ident) for _ in range(3)}
    assert len(idents) == 1
    run.close()


async def test_what_it_raises_is_raised_and_the_thread_goes_on() -> None:
    run = OwnThread("test")
    with pytest.raises(ZeroDivisionError):
        await run(divmod, 1, 0)
    assert await run(divmod, 7, 2) == (3, 1)
    run.close()


async def test_a_cancelled_caller_waits_for_the_end_of_its_call() -> None:
    run, begun, may_end = OwnThread("test"), threading.Event(), threading.Event()
    ended: list[bool] = []

    def work() -> None:
        begun.set()
        ended.append(may_end.wait(60))

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, work)
            await trio.to_thread.run_sync(begun.wait)
            scope.cancel()
            may_end.set()
    assert ended == [True]
    with trio.CancelScope() as scope:
        scope.cancel()
        await run(ended.append, False)
    assert ended == [True], "what was cancelled before it began does not begin"
    run.close()
