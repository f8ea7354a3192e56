"""The goals of streaming under load, by ``cards.md``, and which of them a run missed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Figures(msgspec.Struct, kw_only=True):
    """What one contestant's platform saw."""

    calls: int
    megabytes: float
    limited: int
    stale_p50_s: float
    stale_p99_s: float
    first_words_s: float
    """Until the last of the turns showed something."""
    final_s: float
    """From the last text to the last end that was shown; 0 where nobody noted it."""
    by_api: dict[str, int]
    """Calls by endpoint, the busiest ones."""
    validity: list[tuple[str, str]]
    incomplete: int
    """Cards without all of their text."""
    live: int
    """Cards that still look as if something came."""
    cpu_s: float = 0.0
    """Of the daemon, or of the other bot."""

    @property
    def valid(self) -> bool:
        return self.validity[-1][1] == "valid"


JUDGED_TURNS_MAX = 100
P50_S_MAX = {10: 0.4}
"""Of few turns; 1.2 s of more."""

Column = tuple[str, Callable[[Figures], float], Callable[[int], float | None]]
COLUMNS: tuple[Column, ...] = (
    ("age of text p50, s", lambda one: one.stale_p50_s, lambda turns: P50_S_MAX.get(turns, 1.2)),
    ("age p99, s", lambda one: one.stale_p99_s, lambda _turns: 3.5),
    ("first words of all, s", lambda one: one.first_words_s, lambda _turns: 2.5),
    ("last end shown, s", lambda one: one.final_s, lambda _turns: None),
    ("rate-limit answers", lambda one: one.limited, lambda _turns: 0),
    ("cards without all their text", lambda one: one.incomplete, lambda _turns: 0),
    ("cards left live", lambda one: one.live, lambda _turns: 0),
)
"""Name, figure, and the most it may be at so many turns; None: it is shown, and no goal."""


def missed_by(figures: Figures | None, turns: int) -> list[str]:
    """Return which goals a run missed; None is a run that did not end in time.

    Beyond 100 turns the ages are no goals.
    """
    if figures is None:
        return ["it did not end in time"]
    if not figures.valid:
        lag = figures.validity[0][1]
        return [f"not valid: the generator lagged ({lag} of tokens sent)"]
    judged = COLUMNS if turns <= JUDGED_TURNS_MAX else COLUMNS[-3:]
    missed: list[str] = []
    for name, figure, most in judged:
        limit = most(turns)
        if limit is not None and figure(figures) > limit:
            missed.append(f"{name} {figure(figures):.3g} instead of {limit:.3g}")
    return missed


def shown(figures: Figures | None) -> list[str]:
    """Return a text for each of the columns."""
    return ["-" if figures is None else f"{figure(figures):.3g}" for _, figure, _ in COLUMNS]
