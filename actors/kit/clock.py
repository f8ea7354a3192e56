"""Times as people read them, in the time zone of the machine; and times to wake up at."""

from __future__ import annotations

import math
import time


def local_clock(at_ms: int) -> str:
    """Return a time, in milliseconds since 1970, as HH:MM:SS here."""
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1000))


def local_date_and_clock(at_ms: int) -> str:
    """Return a time, in milliseconds since 1970, as YYYY-MM-DD HH:MM here."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_ms / 1000))


def next_multiple(at: float, step_s: float) -> float:
    """Return the first multiple of *step_s* that is not before *at*: what waits wakes together."""
    return max(at, math.ceil(at / step_s) * step_s)
