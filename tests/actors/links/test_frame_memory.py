"""Memory for large frames: in the order of asking, for all, and for nobody who does not send."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.links.frame_memory import WAIT_S, FrameMemory


async def test_who_asks_first_has_it_first_and_it_comes_back(autojump_clock: MockClock) -> None:
    memory = FrameMemory(10)
    order: list[int] = []
    first = await memory.take(8, lambda: order.append(-1))
    first.arrived = True

    async def ask(size: int) -> None:
        holding = await memory.take(size, lambda: order.append(-1))
        order.append(size)
        await trio.sleep(1)
        holding.free()
        holding.free()

    async with trio.open_nursery() as nursery:
        for size in (9, 1, 2):
            nursery.start_soon(ask, size)
            await wait_all_tasks_blocked()
        await trio.sleep(WAIT_S * 3)
        assert order == []  # one would fit, and is not first; what has arrived is not given up
        first.free()
    assert order == [9, 1, 2]
    with trio.fail_after(1):
        await memory.take(10, lambda: None)


async def test_who_sends_nothing_is_given_up_when_others_have_waited(
    autojump_clock: MockClock,
) -> None:
    memory = FrameMemory(10)
    given_up: list[str] = []
    older = await memory.take(5, lambda: given_up.append("older"))
    newer = await memory.take(5, lambda: given_up.append("newer"))
    await trio.sleep(3_600)
    assert given_up == []  # nobody waits
    with trio.move_on_after(WAIT_S * 1.5):
        await memory.take(1, lambda: None)
    assert given_up == ["older"]
    older.free()
    with trio.fail_after(1):
        await memory.take(5, lambda: None)
    newer.free()
    with trio.fail_after(1):
        await memory.take(5, lambda: None)
