"""Whether this machine lets processes run: where it does not, a test times nothing.

What is promised within a time is measured in ``bench/``. A test that looks at one too notes
what the machine was like meanwhile, and fails for the daemon's slowness alone.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

STARVED_MAX: Final = 0.3
"""Where processes waited for a processor for more of the time, nothing can be timed."""


class Stopwatch:
    """Measures from when it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._starved_s = starved_so_far_s()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def starved(self) -> float:
        """The share of the time in which some process waited for a processor."""
        return (starved_so_far_s() - self._starved_s) / max(self.seconds, 0.001)


def starved_so_far_s() -> float:
    """Seconds in which some process of this machine waited for a processor, since its start.

    Where the kernel does not count, as if it were always so: nothing is timed then.
    """
    try:
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return time.monotonic()
    return int(some.rpartition("=")[2]) / 1e6
