"""Cancel one task at its first step, its second, its third, until a run is not cancelled.

The way a database is tested by failing its Nth write, for cancellation: whatever a
task was doing when it was cancelled, its invariants must hold afterwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

STEPS_MAX = 2_000


class _CancelAtStep(trio.abc.Instrument):
    """Cancels *scope* when *task* is about to make its *nth* step."""

    def __init__(self, nth: int) -> None:
        self._nth = nth
        self._step = 0
        self.task: trio.lowlevel.Task | None = None
        self.scope = trio.CancelScope()
        self.fired = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is not self.task or self.fired:
            return
        self._step += 1
        if self._step == self._nth:
            self.fired = True
            self.scope.cancel(reason=f"cancelled at step {self._nth}")


def cancel_everywhere(
    scenario: Callable[
        [Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]], Awaitable[None]
    ],
) -> int:
    """Run *scenario* once per step of its victim; return how many steps there were.

    The scenario is given ``victim(run)``, which runs the task to be cancelled; after it
    the scenario asserts what must hold. Each run has a virtual clock of its own.
    """
    for nth in itertools.count(1):
        assert nth < STEPS_MAX, "the scenario never ends by itself"
        instrument = _CancelAtStep(nth)

        async def victim(
            run: Callable[[], Awaitable[None]], instrument: _CancelAtStep = instrument
        ) -> None:
            with instrument.scope:
                instrument.task = trio.lowlevel.current_task()
                await run()
            instrument.task = None

        trio.run(scenario, victim, clock=MockClock(autojump_threshold=0), instruments=[instrument])
        if not instrument.fired:
            return nth - 1
    raise AssertionError
