"""Whether this machine lets processes run: where it does not, a test times nothing.

What is promised within a time is measured in ``bench/``. A test that looks at one too notes
what the machine was like meanwhile, and fails for the daemon's slowness alone.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

STARVED_MAX: Final = 0.3
"""Where processes were kept waiting for more of the time, nothing can be timed."""


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
        """The share of the time in which processes were kept waiting."""
        return (starved_so_far_s() - self._starved_s) / max(self.seconds, 0.001)


def starved_so_far_s() -> float:
    """Seconds in which processes of this machine were kept waiting, since its start.

    Some for a processor, or all for a disk, or the whole machine for its host. Where the kernel
    does not count, as if it were always so: nothing is timed then.
    """
    try:
        for_processor = _pressure_s("cpu", "some")
    except OSError:
        return time.monotonic()
    with suppress(OSError, StopIteration):
        return for_processor + _pressure_s("io", "full") + _stolen_s()
    return for_processor


def _pressure_s(resource: str, who: str) -> float:
    lines = Path("/proc/pressure", resource).read_text().splitlines()
    return int(next(one for one in lines if one.startswith(who)).rpartition("=")[2]) / 1e6


def _stolen_s() -> float:
    """Seconds in which the host ran something else, of all processors on average."""
    with Path("/proc/stat").open() as file:
        ticks = int(file.readline().split()[8])
    return ticks / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)
