"""What streaming under load comes to, its goals by ``cards.md``, and which of them a run missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from bench.streaming import LAG_S_MAX, SENT_SHARE_MIN

NEVER_S = 1e9
"""More than any limit."""


class Figures(msgspec.Struct, kw_only=True):
    """What one contestant's platform saw."""

    turns: int
    opened: int
    """Turns that have a card at all."""
    calls: int
    megabytes: float
    limited: int
    stale_p50_s: float
    stale_p99_s: float
    first_words_s: float
    """Until the last of the turns showed something; ``NEVER_S`` where one never did."""
    final_p50_s: float
    final_s: float
    """From a turn's end until its card showed it, at the median and of the last; ``NEVER_S``
    where none did."""
    by_api: dict[str, int]
    """Calls by endpoint, the busiest ones."""
    incomplete: int
    """Turns without all of the text that was sent."""
    live: int
    """Cards that still look as if something came."""
    cpu_s: float = 0.0
    """Of the daemon, or of the other bot with its generator, while the turns streamed."""
    deltas: int
    """Tokens that were really sent."""
    lag_s: float
    """How late they were sent, p99."""
    share: float
    """Of those that were to be sent by the turns that began."""
    is_record_full: bool = False
    """The platform keeps the latest calls only: the first are not counted."""

    @property
    def lag(self) -> str:
        return f"{self.lag_s * 1000:.0f} ms, {self.share:.0%}"

    @property
    def invalid(self) -> str:
        """Why this run counts for nothing; empty where it does count."""
        if self.lag_s > LAG_S_MAX or self.share < SENT_SHARE_MIN:
            return f"the generator lagged ({self.lag} of the tokens sent)"
        return "the platform's record of calls was full" if self.is_record_full else ""


JUDGED_TURNS_MAX = 100
P50_S_MAX = {10: 0.4}
"""Of few turns; 1.2 s of more."""

ENDS_PER_S = 50
"""What the platform takes of the endpoint that ends cards; an end may take 1 s and the way."""

Column = tuple[str, Callable[[Figures], float], Callable[[int], float]]
COLUMNS: tuple[Column, ...] = (
    ("age of text p50, s", lambda one: one.stale_p50_s, lambda turns: P50_S_MAX.get(turns, 1.2)),
    ("age p99, s", lambda one: one.stale_p99_s, lambda _turns: 3.5),
    ("first words of all, s", lambda one: one.first_words_s, lambda _turns: 2.5),
    ("last end shown, s", lambda one: one.final_s, lambda turns: 1.1 + turns / ENDS_PER_S),
    ("rate-limit answers", lambda one: one.limited, lambda _turns: 0),
    ("turns without a card", lambda one: one.turns - one.opened, lambda _turns: 0),
    ("turns without all their text", lambda one: one.incomplete, lambda _turns: 0),
    ("cards left live", lambda one: one.live, lambda _turns: 0),
)
"""Name, figure, and the most it may be at so many turns."""


def missed_by(figures: Figures | None, turns: int) -> list[str]:
    """Return which goals a run missed; None is a run that did not end in time.

    Beyond 100 turns the ages are no goals.
    """
    if figures is None:
        return ["it did not end in time"]
    if figures.invalid:
        return [f"not valid: {figures.invalid}"]
    judged = COLUMNS if turns <= JUDGED_TURNS_MAX else COLUMNS[-5:]
    missed: list[str] = []
    for name, figure, most in judged:
        limit = most(turns)
        if figure(figures) > limit:
            missed.append(f"{name} {figure(figures):.3g} instead of {limit:.3g}")
    return missed


def shown(figures: Figures | None) -> list[str]:
    """Return a text for each of the columns."""
    return ["-" if figures is None else f"{figure(figures):.3g}" for _, figure, _ in COLUMNS]


# ── beside others ───────────────────────────────────────────────────────────

ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("cards opened", lambda one: f"{one.opened} of {one.turns}"),
    (
        "age of the newest text on those, p50 / p99",
        lambda one: f"{_seconds(one.stale_p50_s)} / {_seconds(one.stale_p99_s)}",
    ),
    ("first words of the last turn", lambda one: _seconds(one.first_words_s)),
    (
        "end shown after its turn's, p50 / last",
        lambda one: f"{_seconds(one.final_p50_s)} / {_seconds(one.final_s)}",
    ),
    ("rate-limit answers", lambda one: f"{one.limited:,}"),
    ("turns without all their text", lambda one: str(one.incomplete)),
    ("cards left live", lambda one: str(one.live)),
    ("calls a turn", lambda one: f"{one.calls / one.turns:,.1f}"),
    ("sent a turn", lambda one: f"{one.megabytes * 1000 / one.turns:,.0f} kB"),
    ("CPU s per 1,000 tokens", lambda one: f"{one.cpu_s / max(1, one.deltas) * 1000:.3f}"),
)


class Contestant(msgspec.Struct, frozen=True, kw_only=True):
    """One column: so many turns, shown by one of the three."""

    turns: int
    name: str
    figures: Figures | None
    """None: it did not end in time."""
    is_judged: bool
    """By the goals; the others are not."""

    def verdict(self) -> str:
        if self.figures is None:
            return "NOT VALID: it did not end in time"
        if self.figures.invalid:
            return f"NOT VALID: {self.figures.invalid}"
        missed = missed_by(self.figures, self.turns) if self.is_judged else []
        return "valid" if not missed else "MISSED: " + "; ".join(missed)


def side_by_side(columns: Sequence[Contestant]) -> str:
    """Return one table of all sizes; a run that counts for nothing gives no figures."""
    head = [f"{one.turns} turns: {one.name}" for one in columns]
    lines = ["| | " + " | ".join(head) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, figure in ROWS:
        cells = [
            "not valid" if one.figures is None or one.figures.invalid else figure(one.figures)
            for one in columns
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lags = ["-" if one.figures is None else one.figures.lag for one in columns]
    lines.append("| generator's lag p99, tokens sent of those meant | " + " | ".join(lags) + " |")
    lines.append("| run | " + " | ".join(one.verdict() for one in columns) + " |")
    return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < NEVER_S else "never"
