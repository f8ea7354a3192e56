"""What a reader of a card sees, by the platform's rules for its typewriter.

Text that ``/content`` made longer is typed, ``print_step`` characters each
``print_frequency_ms``; what was not typed yet when the next update comes is there at
once (``print_strategy: fast``), and so is all that comes by another endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

FREEZE_S = 0.25
"""Nothing new for longer than this looks like a pause."""


class Typewriter(msgspec.Struct, frozen=True, kw_only=True):
    """``streaming_config`` of a card."""

    step: int = 1
    every_s: float = 0.07


class Update(msgspec.Struct, frozen=True):
    """A card's answer has so many characters from then on."""

    at: float
    characters: int
    typed: bool


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one reader saw of one card."""

    seconds: float
    characters: int
    frozen_s: float
    """In all, in which nothing came for more than a quarter of a second."""
    longest_freeze_s: float
    jumps: tuple[int, ...]
    """Characters that came at once, each time."""
    per_second: tuple[int, ...] = ()
    """Characters that came in each second."""

    @property
    def characters_per_s(self) -> float:
        return self.characters / self.seconds


def read(updates: Iterable[Update], typewriter: Typewriter, begin: float, end: float) -> Reading:
    """Watch a card from *begin* to *end*; each is a time of the updates' clock, in seconds."""
    moving: list[tuple[float, float]] = []
    jumps: list[tuple[float, int]] = []
    updates = sorted(updates, key=lambda one: one.at)
    characters = typed_from = 0
    typed_at = begin
    for update in updates:
        if update.at > end:
            break
        painted = min(characters - typed_from, _painted(update.at - typed_at, typewriter))
        typed_until = typed_at + (painted / typewriter.step) * typewriter.every_s
        moving.append((typed_at, min(typed_until, update.at)))
        rest = characters - typed_from - painted
        jump = rest if update.typed else update.characters - typed_from - painted
        typed_from = characters if update.typed else update.characters
        if jump:
            jumps.append((update.at, jump))
        moving.append((update.at, update.at))
        characters, typed_at = update.characters, update.at
    painted = min(characters - typed_from, _painted(end - typed_at, typewriter))
    typed_until = typed_at + painted / typewriter.step * typewriter.every_s
    moving.append((typed_at, typed_until))
    pauses = _pauses(moving, begin, end)
    return Reading(
        seconds=end - begin,
        characters=typed_from + painted - _shown_at(updates, typewriter, begin),
        frozen_s=sum(pauses),
        longest_freeze_s=max(pauses, default=0.0),
        jumps=tuple(jump for at, jump in jumps if at >= begin),
        per_second=tuple(
            _shown_at(updates, typewriter, begin + second + 1)
            - _shown_at(updates, typewriter, begin + second)
            for second in range(int(end - begin))
        ),
    )


def _shown_at(updates: Iterable[Update], typewriter: Typewriter, at: float) -> int:
    """Return how many characters can be read at that time."""
    shown, last = 0, None
    for update in updates:
        if update.at > at:
            break
        shown, last = (0 if last is None else last.characters), update
    if last is None:
        return 0
    if not last.typed:
        return last.characters
    return min(last.characters, shown + _painted(at - last.at, typewriter))


def _painted(seconds: float, typewriter: Typewriter) -> int:
    return int(seconds / typewriter.every_s + 1e-9) * typewriter.step


def _pauses(moving: Sequence[tuple[float, float]], begin: float, end: float) -> list[float]:
    pauses, still_since = [], begin
    for since, until in [*moving, (end, end)]:
        if until < begin:
            continue
        pause = since - still_since
        if pause > FREEZE_S:
            pauses.append(pause)
        still_since = max(still_since, until)
    return pauses
