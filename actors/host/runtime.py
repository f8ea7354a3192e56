"""What the daemon asks of its interpreter and its C library, once, before it serves."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

SWITCH_EVERY_S: Final = 0.0005
"""Python's own is 5 ms: so long the journal's thread would wait, after each statement in which
it let go of the interpreter, for a loop that is busy."""
LARGE_BYTES: Final = 1024 * 1024
"""Beyond the largest buffer that is made often, of a read."""
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def switch_often() -> None:
    """Let a thread that waits for the interpreter have it soon."""
    sys.setswitchinterval(SWITCH_EVERY_S)


def give_back_what_is_large() -> None:
    """Let memory of a large frame go back to the system as soon as it is free.

    glibc keeps what is smaller than the largest block that was ever freed, up to 32 MiB
    (mallopt(3), M_MMAP_THRESHOLD), and has a heap for each thread that is busy at once.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library
    mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    mallopt(_M_ARENA_MAX, 2)
