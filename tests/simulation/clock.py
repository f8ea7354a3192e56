"""The time of a run: where nothing can go on, it is the next deadline at once."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import Any, Final

import trio

NOTHING_IS_DUE_S: Final = 1.0
"""Where no deadline is left: how long the loop waits for what comes from outside of its tasks."""


class Sleeper:
    """One task that waits for a time of its own; its task is None once it was cancelled."""

    __slots__ = ("number", "task", "when")

    def __init__(self, when: float, number: int, task: trio.lowlevel.Task) -> None:
        self.when = when
        self.number = number
        self.task: trio.lowlevel.Task | None = task

    def __lt__(self, other: Sleeper) -> bool:
        return (self.when, self.number) < (other.when, other.number)

    def abort(self, _raise_cancel: Any) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def sleep_on(self, _raise_cancel: Any) -> trio.lowlevel.Abort:
        return trio.lowlevel.Abort.FAILED


class JumpingClock(trio.abc.Clock):
    """Virtual seconds from 0 on, which pass while every task waits, and only then.

    As :class:`trio.testing.MockClock` with a threshold of 0, in half of the passes of the loop:
    that one needs a pass to find that nothing can go on, and a second one to act on it.

    :meth:`sleep` is :func:`trio.sleep` without a cancel scope, which costs several times the
    rest of it: what is around the daemon sleeps hundreds of times in a run.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: list[Sleeper] = []
        self._numbers = itertools.count()
        self.jumps = 0
        """How often time went on."""

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._now

    async def sleep(self, seconds: float, *, shielded: bool = False) -> None:
        """Wait as :func:`trio.sleep` does; *shielded*: also when it is cancelled meanwhile."""
        if seconds <= 0:
            await (
                trio.lowlevel.cancel_shielded_checkpoint if shielded else trio.lowlevel.checkpoint
            )()
            return
        sleeper = Sleeper(self._now + seconds, next(self._numbers), trio.lowlevel.current_task())
        heapq.heappush(self._sleepers, sleeper)
        await trio.lowlevel.wait_task_rescheduled(sleeper.sleep_on if shielded else sleeper.abort)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Be at *deadline*, or where the next one wakes: the loop asks when no task can run."""
        sleepers = self._sleepers
        while sleepers and sleepers[0].task is None:
            heapq.heappop(sleepers)
        due = min(deadline, sleepers[0].when) if sleepers else deadline
        if not math.isfinite(due):
            return NOTHING_IS_DUE_S
        if due > self._now:
            self._now = due
            self.jumps += 1
        while sleepers and sleepers[0].when <= due:
            task = heapq.heappop(sleepers).task
            if task is not None:
                trio.lowlevel.reschedule(task)
        return 0.0


async def sleep(seconds: float, *, shielded: bool = False) -> None:
    """Sleep by the clock of this run, as :meth:`JumpingClock.sleep` does."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, JumpingClock)
    await clock.sleep(seconds, shielded=shielded)
