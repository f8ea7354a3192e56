"""A daemon on a machine whose clocks are wrong: they run too fast or slow, from another hour.

``LARKD_TEST_CLOCK_RATE`` is how many seconds its clocks count in one; ``…_WALL_S`` by how
much its wall clock is ahead.
"""

from __future__ import annotations

import os
import sys
import time


def disturb(rate: float, ahead_s: float) -> None:
    """Let Python's clocks of this process drift, each from where it is now."""
    clock_gettime, wall, wall_ns = time.clock_gettime, time.time, time.time_ns
    boot, began = clock_gettime(time.CLOCK_BOOTTIME), wall()

    def drifted(clock: int) -> float:
        read = clock_gettime(clock)
        return boot + (read - boot) * rate if clock == time.CLOCK_BOOTTIME else read

    time.clock_gettime = drifted
    time.time = lambda: began + (wall() - began) * rate + ahead_s
    time.time_ns = lambda: wall_ns() + int((wall() - began) * (rate - 1) * 1e9 + ahead_s * 1e9)


if __name__ == "__main__":
    disturb(
        float(os.environ.pop("LARKD_TEST_CLOCK_RATE")),
        float(os.environ.pop("LARKD_TEST_CLOCK_WALL_S")),
    )
    from actors.cli.daemon import main

    sys.exit(main())
