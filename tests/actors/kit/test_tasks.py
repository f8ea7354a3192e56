"""The tasks of a loop, as lines."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from actors.kit.tasks import task_lines


async def waits(event: trio.Event) -> None:
    await event.wait()


async def parent(event: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits, event, name="child")


async def test_each_task_is_a_line_below_its_parent_with_the_call_it_waits_in() -> None:
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parent, event, name="parent")
        await wait_all_tasks_blocked()
        lines = task_lines()
        event.set()
    (above,) = (number for number, line in enumerate(lines) if line.strip().startswith("parent"))
    depth = len(lines[above]) - len(lines[above].lstrip())
    below = lines[above + 1]
    assert below.startswith(" " * (depth + 2) + "child: ")
    module, line = below.split(": ", 1)[1].split(", line ")
    assert module.endswith("test_tasks.waits")
    assert int(line) == waits.__code__.co_firstlineno + 1
