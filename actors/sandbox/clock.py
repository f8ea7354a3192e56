"""The platform's clock, which tests may let run faster than the real one."""

from __future__ import annotations

import time

import trio


class Clock:
    """Platform seconds: *scale* of them pass in a real second."""

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def now(self) -> float:
        """Seconds of the platform's own, only for differences."""
        return trio.current_time() * self._scale

    def real_s(self, platform_s: float) -> float:
        """How long that many platform seconds take in reality."""
        return platform_s / self._scale

    @staticmethod
    def wall_ms() -> int:
        return time.time_ns() // 1_000_000
