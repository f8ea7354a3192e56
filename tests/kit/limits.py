"""The limit of a test: one that hangs is named, with the tasks it hangs in.

The process ends then, as pytest-timeout's thread method does it: an exception thrown
into a run of Trio leaves it half installed for the tests that follow. The process is
one of several; pytest-xdist names the test and starts another.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any, TextIO

import pytest
import pytest_timeout
import trio
from trio._core._run import unrolled_run  # no public way to another thread's run

_STDERR = pytest.StashKey[int]()


def keep_stderr(config: pytest.Config) -> None:
    """Keep standard error as it is outside of tests, whose own is captured."""
    config.stash[_STDERR] = os.dup(2)


def set_timer(item: pytest.Item, settings: pytest_timeout.Settings) -> bool:
    """Arm the limit of one test, as pytest-timeout's hook of that name."""
    test_thread = threading.get_ident()

    def expire() -> None:
        with os.fdopen(item.config.stash[_STDERR], "w") as out:
            out.write(f"\n{item.nodeid} takes over {settings.timeout:g} s\n")
            show_tasks(test_thread, out)
        pytest_timeout.timeout_timer(item, settings)

    timer = threading.Timer(settings.timeout, expire)
    timer.name = f"limit of {item.nodeid}"
    timer.daemon = True

    def cancel() -> None:
        timer.cancel()
        timer.join()

    item.cancel_timeout = cancel  # type: ignore[attr-defined]  # where pytest-timeout looks for it
    timer.start()
    return True


def show_tasks(thread: int, out: TextIO) -> None:
    """Print the tree of tasks of the Trio run in *thread*, each where it waits."""
    for runner in _runners(thread):
        if runner.main_task is not None:
            out.writelines(line + "\n" for line in describe(runner.main_task))


def describe(task: trio.lowlevel.Task, depth: int = 0) -> Iterator[str]:
    """Yield the lines of a task and of those in its nurseries."""
    indent = "    " * depth
    yield f"{indent}task {task.name}"
    for summary in traceback.StackSummary.extract(task.iter_await_frames()):
        yield f"{indent}  {summary.filename}:{summary.lineno} {summary.name}: {summary.line}"
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda one: one.name):
            yield from describe(child, depth + 1)


def _runners(thread: int) -> Iterator[Any]:
    frame: FrameType | None = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code in (trio.run.__code__, unrolled_run.__code__):
            yield frame.f_locals["runner"]
            return
        frame = frame.f_back
