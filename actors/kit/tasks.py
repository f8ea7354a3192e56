"""What every task of the loop waits for: the first question about a daemon that seems stuck."""

from __future__ import annotations

from collections.abc import Iterator

import trio


def task_lines() -> list[str]:
    """Return a line for each task, a child below its parent and further right.

    It ends with the innermost call outside of Trio and its line. To be called in the loop;
    nothing changes by it.
    """
    root = trio.lowlevel.current_root_task()
    return [] if root is None else list(_lines(root, 0))


def _lines(task: trio.lowlevel.Task, depth: int) -> Iterator[str]:
    yield f"{'  ' * depth}{task.name}{_waits_in(task)}"
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda one: one.name):
            yield from _lines(child, depth + 1)


def _waits_in(task: trio.lowlevel.Task) -> str:
    call = ""
    for frame, line in task.iter_await_frames():
        module = frame.f_globals.get("__name__", "")
        if not module.startswith("trio."):
            call = f": {module}.{frame.f_code.co_qualname}, line {line}"
    return call
