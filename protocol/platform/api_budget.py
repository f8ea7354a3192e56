"""The budget of one API, and of one card or chat: windows, paces and pauses together.

Ends and creations use an API up to its limits. All else keeps an even pace, and leaves a
part of every second and minute to them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from msgspec import Struct

from protocol.platform.window import (
    MINUTE_S,
    PAUSE_MIN_S,
    SECOND_S,
    Learned,
    Pace,
    Sliding,
)

PER_SECOND: Final = 50
PER_MINUTE: Final = 1_000
"""Of each API; an app whose limits were raised has more."""
SPREAD_BURST: Final = 60
"""How many calls they may be ahead of the even pace: with four APIs, the first words of
100 turns go at once."""
TICK_BURST: Final = 12
"""Ticks: so that seconds shown leave the rest of it to words."""


class Priority(IntEnum):
    """Smaller goes first. Text shares what the others leave."""

    FINAL = 0
    """Final states, stop, error notices."""
    CREATE = 1
    """New cards, replies, reactions, discovery. Up to it all may use the whole minute."""
    STRUCTURE = 2
    TEXT = 3
    TICK = 4
    """May be only a little ahead of the even pace."""


class Limits(Struct, frozen=True, kw_only=True):
    """What the platform grants each API of this app."""

    per_minute: int = PER_MINUTE
    per_second: int = PER_SECOND
    probe: bool = True
    """Whether to find out by trying that it grants more."""


class Shares(Struct, frozen=True, kw_only=True):
    """What calls that are not urgent may use of an API's minute."""

    spread: float = 0.75
    """Structure, text and ticks together."""
    text: float = 1.0
    """Text and ticks, of the minute."""
    second: float = 0.75
    """All of them together, of one second: an end finds the rest free at once."""
    text_burst: int = SPREAD_BURST
    """How many calls text may be ahead of its even pace."""


class Used(Struct, frozen=True, kw_only=True):
    """How much of an API's budget is used, of which limits (as learned)."""

    in_second: int
    in_minute: int
    second_max: int
    minute_max: int


class ApiBudget:
    """The windows and paces of one API."""

    def __init__(self, limits: Limits, shares: Shares) -> None:
        self.calls = Sliding()
        self.limits = limits
        self.learned = Learned(probe=limits.probe)
        self.spread = Pace(limits.per_minute * shares.spread, SPREAD_BURST)
        self.text = Pace(limits.per_minute * min(shares.spread, shares.text), shares.text_burst)
        self._second = shares.second
        self._urgent_paused_until = 0.0
        self._paused_until = 0.0

    def free_at(self, now: float, priority: int) -> float:
        """Return when one more call of *priority* fits; *now* or earlier: at once."""
        paused_until = (
            self._urgent_paused_until if priority <= Priority.CREATE else self._paused_until
        )
        if paused_until > now:
            return paused_until
        free = self._free_at(now, priority)
        if free > now and priority < Priority.TICK:
            self.learned.pressed(now)
        return free

    def _free_at(self, now: float, priority: int) -> float:
        factor = self.learned.factor(now)
        per_second, per_minute = self.limits.per_second * factor, self.limits.per_minute * factor
        if priority <= Priority.CREATE:
            return max(
                self.calls.free_at(now, per_second, SECOND_S),
                self.calls.free_at(now, per_minute, MINUTE_S),
            )
        ahead = TICK_BURST if priority >= Priority.TICK else SPREAD_BURST
        return max(
            self.calls.free_at(now, per_second * self._second, SECOND_S),
            self.calls.free_at(now, per_minute, MINUTE_S),
            self.spread.free_at(factor, ahead),
            self.text.free_at(factor, ahead) if priority >= Priority.TEXT else 0.0,
        )

    def leave(self, now: float, priority: int) -> None:
        self.calls.leave()
        factor = self.learned.factor(now)
        if priority > Priority.CREATE:
            self.spread.leave(now, factor)
        if priority >= Priority.TEXT:
            self.text.leave(now, factor)

    def refund(self, now: float, priority: int) -> None:
        self.calls.refund()
        factor = self.learned.factor(now)
        if priority > Priority.CREATE:
            self.spread.refund(factor)
        if priority >= Priority.TEXT:
            self.text.refund(factor)

    def refused(self, priority: int, retry_after_s: float, now: float) -> None:
        """Pause, and go on a little slower. Text that was too much does not stop an end."""
        if now >= self._paused_until:
            # Calls that were under way too are answered the same during the pause.
            self.learned.refused(now)
        until = now + max(retry_after_s, PAUSE_MIN_S)
        self._paused_until = max(self._paused_until, until)
        if priority <= Priority.CREATE:
            self._urgent_paused_until = max(self._urgent_paused_until, until)

    def use_up(self, until: float, now: float) -> None:
        """Start as if the minute before *until* had been used evenly in full."""
        per_minute = self.limits.per_minute
        times = (until - MINUTE_S * (1 - n / per_minute) for n in range(1, per_minute + 1))
        self.calls.answered.extend(at for at in times if at <= now)
        self.spread.use_up(until)
        self.text.use_up(until)


class ResourceBudget:
    """The window of one card or chat.

    What was refused to a call pauses those of its priority and less: text that comes too
    often holds up no end.
    """

    def __init__(self) -> None:
        self.calls = Sliding()
        self._paused: dict[int, float] = {}

    @property
    def paused_until(self) -> float:
        return max(self._paused.values(), default=0.0)

    def pause(self, priority: int, until: float) -> None:
        self._paused[priority] = max(self._paused.get(priority, 0.0), until)

    def free_at(self, now: float, priority: int, per_second: int) -> float:
        pauses = (until for refused, until in self._paused.items() if refused <= priority)
        return max(max(pauses, default=0.0), self.calls.free_at(now, per_second, SECOND_S))
