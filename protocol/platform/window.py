"""Sliding windows of the platform's rate limits, as they look from where calls leave.

The platform counts a call when it arrives there, which is after it left here and before
its answer came back. So a call counts here from its leaving until a whole span after its
answer: whatever the latency, no span of the platform's clock then holds more calls than
the limit. (Of the calls that it counts in one span take the one that left last: when it
left, all the others had either no answer yet or one that was younger than the span.)

Pure: time is an argument, in seconds of a clock that only goes forward.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

NEVER: Final = 1e12
"""Later than any clock: until something else happens."""
SECOND_S: Final = 1.02
MINUTE_S: Final = 60.2
"""A little longer than the platform's, whose clock may run a little slower than ours."""
LOST_S: Final = 1.0
"""So long a call that got no answer may still be on its way to the platform."""
SLOWER: Final = 0.8
"""What a rate-limit answer leaves of a rate: somebody else's calls count there too."""
SLOWEST: Final = 0.25
PAUSE_MIN_S: Final = 0.2
"""Also when the answer asks for 0 s: it was too much a moment ago."""
RECOVER_S: Final = 600.0
"""From nothing to the whole rate; so one rate-limit answer is forgotten in 2 minutes."""
FASTER: Final = 1.1
LEVELS_MAX: Final = 24
"""Ten times the rate: far beyond what the platform is known to grant."""
QUIET_MINUTES: Final = 10
"""Minutes in which calls had to wait, without a rate-limit answer, before the next try."""
QUIET_MINUTES_MAX: Final = 640
"""After tries that failed: each doubles the wait for the next one."""


class Sliding:
    """The calls of one API, card or chat that may still count in a window.

    ``answered`` holds the times at which calls were answered, oldest first, for one
    minute at most.
    """

    __slots__ = ("answered", "lost_until", "on_the_way")

    def __init__(self) -> None:
        self.answered: deque[float] = deque()
        self.on_the_way = 0
        self.lost_until: deque[float] = deque()

    def leave(self) -> None:
        """One call leaves now."""
        self.on_the_way += 1

    def answer(self, now: float) -> None:
        """The answer to a call came."""
        self.on_the_way -= 1
        self.answered.append(now)

    def lose(self, now: float) -> None:
        """A call got no answer; the platform may count it in a moment."""
        self.on_the_way -= 1
        self.lost_until.append(now + LOST_S)

    def refund(self) -> None:
        """A call did not leave after all."""
        self.on_the_way -= 1

    def free_at(self, now: float, limit: float, span_s: float) -> float:
        """Return when one more call fits; :data:`NEVER`: an answer must come first."""
        self._settle(now)
        allowed = max(1, int(limit)) - self.on_the_way - len(self.lost_until)
        if allowed <= 0:
            return self.lost_until[0] if self.lost_until else NEVER
        return self.answered[-allowed] + span_s if len(self.answered) >= allowed else 0.0

    def used(self, now: float, span_s: float) -> int:
        """Return how many calls count in the span that ends now."""
        self._settle(now)
        recent = sum(at > now - span_s for at in self.answered)
        return recent + self.on_the_way + len(self.lost_until)

    def is_idle(self, now: float) -> bool:
        self._settle(now)
        return not (self.answered or self.on_the_way or self.lost_until)

    def _settle(self, now: float) -> None:
        while self.lost_until and self.lost_until[0] <= now:
            self.lost_until.popleft()
            self.answered.append(now)
        while self.answered and self.answered[0] <= now - MINUTE_S:
            self.answered.popleft()


class Pace:
    """An even rate with a burst: who keeps to it uses a minute's share up evenly."""

    __slots__ = ("_paid_until", "burst", "per_minute")

    def __init__(self, per_minute: float, burst: int) -> None:
        self.per_minute = per_minute
        """With the burst: no minute has more calls than this."""
        self.burst = min(burst, int(per_minute / 4))
        self._paid_until = 0.0

    def per_second(self, factor: float) -> float:
        return (self.per_minute - self.burst) / MINUTE_S * factor

    def free_at(self, factor: float, ahead: int) -> float:
        """Return when a call may go that may be *ahead* of the even rate by so many calls."""
        return self._paid_until - (min(ahead, self.burst) - 1) / self.per_second(factor)

    def leave(self, now: float, factor: float) -> None:
        self._paid_until = max(self._paid_until, now) + 1 / self.per_second(factor)

    def refund(self, factor: float) -> None:
        self._paid_until -= 1 / self.per_second(factor)

    def use_up(self, now: float) -> None:
        """Start without a burst."""
        self._paid_until = max(self._paid_until, now + self.burst / self.per_second(1.0))


class Learned(Struct):
    """How fast an API takes calls, as its answers and its silence taught.

    A rate-limit answer takes a fifth off, which comes back evenly. A tenth comes on top
    after ten minutes in which calls had to wait and none was refused, and goes again
    with the first refusal.
    """

    probe: bool
    level: int = 0
    """Tenths on top, each of all before."""
    quiet_minutes: int = 0
    quiet_wanted: int = QUIET_MINUTES
    _share: float = 1.0
    _slowed_at: float = 0.0
    _minute: int = -1

    def factor(self, now: float) -> float:
        """Return what share of the known limits may be used; over 1 after a rise."""
        return float(self._share_at(now) * FASTER**self.level)

    def pressed(self, now: float) -> None:
        """A call had to wait for this API; the tenth minute of it brings a rise."""
        minute = int(now // 60)
        if not self.probe or minute == self._minute or self._share_at(now) < 1:
            return
        self._minute = minute
        self.quiet_minutes += 1
        if self.quiet_minutes > self.quiet_wanted and self.level < LEVELS_MAX:
            self.level += 1
            self.quiet_minutes = 0

    def refused(self, now: float) -> None:
        """The platform answered that it was too much."""
        self.quiet_minutes = 0
        if self.level:
            self.level -= 1
            self.quiet_wanted = min(QUIET_MINUTES_MAX, self.quiet_wanted * 2)
        else:
            self._share = max(SLOWEST, self._share_at(now) * SLOWER)
            self._slowed_at = now

    def _share_at(self, now: float) -> float:
        return min(1.0, self._share + (now - self._slowed_at) / RECOVER_S)
