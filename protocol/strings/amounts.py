"""Times and counts as people read them."""

from __future__ import annotations


def minutes(seconds: float) -> int:
    """Return whole minutes for a notice, at least one."""
    return max(1, round(seconds / 60))


def duration(seconds: float) -> str:
    """Format a duration: ``8.2s`` under a minute, ``2m 5s`` under an hour, else ``1h 4m``.

    What rounds to a minute is one: 59.96 is ``1m 0s``.
    """
    tenths = max(0, round(seconds * 10))
    if tenths < 600:
        return f"{tenths // 10}.{tenths % 10}s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60}m {whole % 60}s"
    return f"{whole // 3_600}h {whole % 3_600 // 60}m"


def amount(count: int) -> str:
    """Format a number of tokens: ``800``, ``1.2k``, ``12k``, ``200k``, ``1.5M``."""
    if count < 1_000:
        return str(count)
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= unit:
            tenths = count * 10 // unit
            whole = tenths % 10 == 0 or tenths >= 100
            return f"{tenths // 10}{letter}" if whole else f"{tenths // 10}.{tenths % 10}{letter}"
    raise AssertionError(count)
