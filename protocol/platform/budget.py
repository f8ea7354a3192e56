"""The rate budget of one app: who may call the platform next, and when.

The platform counts per API, 50 in a second and 1,000 in a minute, and per card 10 in
a second. Calls wait here by priority; within one priority the oldest goes first,
which shares what is left fairly, since a card has one call waiting at most.

Pure: time is an argument, in seconds of a clock that only goes forward.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from msgspec import Struct

PER_SECOND: Final = 42
"""Of the platform's 50: what leaves in one second may arrive in a shorter one."""
BURST: Final = 11
BURST_S: Final = 0.25
"""No more than so many in so long, for the same reason."""
PER_MINUTE: Final = 950
"""Of the platform's 1,000, for the same reason."""
SPREAD_PER_SECOND: Final = 12.0
"""What structure, text and ticks may use of a minute, evenly: 720. So a team's cards go on
all the time instead of all at once and then not at all; the rest is kept for ends and
starts."""
SPREAD_BURST: Final = 100
"""How many calls ahead of that they may be: the first words of 100 turns go at once."""
TICK_BURST: Final = 12
"""Ticks: so that seconds shown leave the rest of it to words."""
PER_CARD_SECOND: Final = 9
"""Of the platform's 10."""
PER_CHAT_SECOND: Final = 4
"""Of the platform's 5, which it counts over all bots of a group."""
WAITERS_MAX: Final = 10_000
SLOWER: Final = 0.8
"""What a rate-limit answer leaves of a rate: somebody else's calls count there too."""
SLOWEST: Final = 0.25
PAUSE_MIN_S: Final = 0.2
"""Also when the answer asks for 0 s: it was too much a moment ago."""
RECOVER_S: Final = 600.0
"""From nothing to the whole rate; so one rate-limit answer is forgotten in 2 minutes."""
URGENT: Final = 1
"""Priorities up to this one (final, create) may use the whole minute."""
TICK: Final = 4
"""Priorities from this one on may be only a little ahead of the even pace."""

WaiterT = TypeVar("WaiterT", bound=Hashable)


class Want(Struct, frozen=True, kw_only=True):
    """One call that wants to be made."""

    api: str
    priority: int
    """Smaller goes first."""
    resource: str | None = None
    """The card or chat whose own limit it counts against too."""
    resource_per_second: int = PER_CARD_SECOND


class _Window:
    """The times of the last calls of one API or resource, within the last minute."""

    __slots__ = ("_share", "_slowed_at", "calls", "paused_until", "per_second", "spread_at")

    def __init__(self, per_second: int) -> None:
        self.calls: deque[float] = deque()
        self.per_second = per_second
        self.paused_until = 0.0
        self.spread_at = 0.0  # when the calls that are spread will have been paid for
        self._share = 1.0
        self._slowed_at = 0.0

    def free_at(self, now: float, per_minute: int | None, ahead: int | None = None) -> float:
        """Return when one more call fits; *now* or earlier means at once.

        One that is spread has to keep to an even pace, too, or be so many calls *ahead*.
        """
        while self.calls and self.calls[0] <= now - 60:
            self.calls.popleft()
        share = self._share_at(now)
        free = max(self.paused_until, self._room_at(self.per_second * share, 1))
        if self.per_second > BURST:
            free = max(free, self._room_at(BURST * share, BURST_S))
        if per_minute is not None:
            free = max(free, self._room_at(per_minute * share, 60))
        if ahead is not None:
            free = max(free, self.spread_at - ahead / SPREAD_PER_SECOND)
        return free

    def count(self, now: float, *, spread: bool = False) -> None:
        """One call is made now."""
        self.calls.append(now)
        if spread:
            pace = SPREAD_PER_SECOND * self._share_at(now)
            self.spread_at = max(self.spread_at, now) + 1 / pace

    def refund(self, *, spread: bool = False) -> None:
        """The last call was not made after all."""
        if self.calls:
            self.calls.pop()
            if spread:
                self.spread_at -= 1 / SPREAD_PER_SECOND

    def slow_down(self, retry_after_s: float, now: float) -> None:
        """Pause, and go on a little slower than before."""
        if now >= self.paused_until:
            # Calls that were under way too are answered the same during the pause.
            self._share = max(SLOWEST, self._share_at(now) * SLOWER)
            self._slowed_at = now
        self.paused_until = max(self.paused_until, now + max(retry_after_s, PAUSE_MIN_S))

    def _room_at(self, limit: float, span_s: float) -> float:
        """Return when fewer than *limit* calls lie in the last *span_s*."""
        count = max(1, int(limit))
        return self.calls[-count] + span_s if len(self.calls) >= count else 0.0

    def _share_at(self, now: float) -> float:
        return min(1.0, self._share + (now - self._slowed_at) / RECOVER_S)


class Budget(Generic[WaiterT]):
    """Holds those who wait, and chooses who goes.

    ``next_ready`` costs a look at the head of each (priority, API) queue, and past
    waiters whose own card or chat has to pause.
    """

    def __init__(self) -> None:
        self._apis: dict[str, _Window] = {}
        self._resources: dict[str, _Window] = {}
        self._queues: dict[tuple[int, str], deque[tuple[int, WaiterT, Want]]] = {}
        self._resting: list[tuple[float, int, WaiterT, Want]] = []
        self._numbers = itertools.count()
        self._allowed: int | None = None
        self.waiting = 0

    def allow_up_to(self, priority: int) -> None:
        """Let nobody of a larger priority go, until called again; they wait on."""
        self._allowed = priority

    def wait(self, waiter: WaiterT, want: Want) -> bool:
        """Enter *waiter*; False: too many wait already."""
        if self.waiting >= WAITERS_MAX:
            return False
        self._queue(want).append((next(self._numbers), waiter, want))
        self.waiting += 1
        return True

    def next_ready(self, now: float) -> tuple[tuple[WaiterT, Want] | None, float | None]:
        """Return who may call now, taken off the queue and counted as having called.

        Otherwise None, and when to ask again (None: nobody waits).
        """
        self._wake_rested(now)
        earliest: float | None = self._resting[0][0] if self._resting else None
        for priority, api in sorted(self._queues):
            if self._allowed is not None and priority > self._allowed:
                break
            queue = self._queues[priority, api]
            window = self._api(api)
            while queue:
                free = window.free_at(now, PER_MINUTE, _ahead(priority))
                if free > now:
                    earliest = free if earliest is None else min(earliest, free)
                    break
                number, waiter, want = queue.popleft()
                rest = self._rest_until(want, now)
                if rest > now:
                    heapq.heappush(self._resting, (rest, number, waiter, want))
                    earliest = rest if earliest is None else min(earliest, rest)
                    continue
                self._count(want, now)
                self.waiting -= 1
                return (waiter, want), None
            if not queue:
                del self._queues[priority, api]
        return None, earliest

    def refund(self, want: Want) -> None:
        """The one who was let go did not call after all."""
        self._api(want.api).refund(spread=want.priority > URGENT)
        window = self._resources.get(want.resource) if want.resource else None
        if window is not None:
            window.refund()

    def limited(self, api: str, retry_after_s: float, now: float) -> None:
        """The platform answered "too many": nothing of this API until then, and less after."""
        self._api(api).slow_down(retry_after_s, now)

    def limited_resource(self, resource: str, retry_after_s: float, now: float) -> None:
        """One card or chat was called too often; the others go on."""
        window = self._resources.get(resource)
        if window is None:
            window = self._resources[resource] = _Window(PER_CARD_SECOND)
        window.slow_down(retry_after_s, now)

    def forget_idle(self, now: float) -> None:
        """Drop the windows of cards and chats nobody called for a while."""
        idle = [
            name
            for name, window in self._resources.items()
            if (not window.calls or window.calls[-1] < now - 60) and window.paused_until <= now
        ]
        for name in idle:
            del self._resources[name]

    def _api(self, api: str) -> _Window:
        window = self._apis.get(api)
        if window is None:
            window = self._apis[api] = _Window(PER_SECOND)
        return window

    def _queue(self, want: Want) -> deque[tuple[int, WaiterT, Want]]:
        return self._queues.setdefault((want.priority, want.api), deque())

    def _rest_until(self, want: Want, now: float) -> float:
        window = self._resources.get(want.resource) if want.resource else None
        return window.free_at(now, None) if window is not None else now

    def _count(self, want: Want, now: float) -> None:
        self._api(want.api).count(now, spread=want.priority > URGENT)
        if want.resource is not None:
            window = self._resources.get(want.resource)
            if window is None:
                window = self._resources[want.resource] = _Window(want.resource_per_second)
            window.count(now)

    def _wake_rested(self, now: float) -> None:
        """Let those whose card may be called again back in, at the front: they waited."""
        rested = []
        while self._resting and self._resting[0][0] <= now:
            rested.append(heapq.heappop(self._resting))
        for _, number, waiter, want in sorted(rested, key=lambda one: one[1], reverse=True):
            self._queue(want).appendleft((number, waiter, want))


def _ahead(priority: int) -> int | None:
    """How many calls such a one may be ahead of the even pace; None: it isn't held to it."""
    if priority <= URGENT:
        return None
    return SPREAD_BURST if priority < TICK else TICK_BURST
