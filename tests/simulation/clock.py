"""The time of a run: where nothing can go on, it is the next deadline at once."""

from __future__ import annotations

import math
from typing import Final

import trio

NOTHING_IS_DUE_S: Final = 1.0
"""Where no deadline is left: how long the loop waits for what comes from outside of its tasks."""


class JumpingClock(trio.abc.Clock):
    """Virtual seconds from 0 on, which pass while every task waits, and only then.

    As :class:`trio.testing.MockClock` with a threshold of 0, in half of the passes of the loop:
    that one needs a pass to find that nothing can go on, and a second one to act on it.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self.jumps = 0
        """How often time went on."""

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Be at *deadline*: the loop asks when no task can run."""
        if not math.isfinite(deadline):
            return NOTHING_IS_DUE_S
        if deadline > self._now:
            self._now = deadline
            self.jumps += 1
        return 0.0
