"""The platform's clock, which tests may let run faster than the real one, or replace."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio


class Clock:
    """Platform seconds: *scale* of them pass in a second of Trio's clock.

    Under a virtual clock of Trio's the platform's goes with it; *wall_ns* is then the
    virtual day's.
    """

    def __init__(self, scale: float = 1.0, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._scale = scale
        self._wall_ns = wall_ns

    def now(self) -> float:
        """Seconds of the platform's own, only for differences."""
        return trio.current_time() * self._scale

    def real_s(self, platform_s: float) -> float:
        """How many of Trio's seconds that many platform seconds take."""
        return platform_s / self._scale

    def wall_ms(self) -> int:
        return self._wall_ns() // 1_000_000
