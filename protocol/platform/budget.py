"""The rate budget of one app: who may call the platform next, by which API, and when.

The platform counts each API by itself, 50 in a second and 1,000 in a minute, and each
card 10 in a second. Calls wait here by priority; within one priority the oldest goes
first, which shares what is left fairly, since a card has one call waiting at most.

A call may name several APIs that would do, the best one first. It takes the best while
that one's budget is enough; the longer it waits, the further down it looks.

Ends and creations use an API up to its limits. All else keeps an even pace, so that a
team's cards go on all the time instead of all at once and then not at all, and leaves a
part of every second and minute to ends.

Pure: time is an argument, in seconds of a clock that only goes forward.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from msgspec import Struct

from protocol.platform.api_budget import ApiBudget, Limits, Priority, ResourceBudget, Shares, Used
from protocol.platform.window import MINUTE_S, NEVER, PAUSE_MIN_S, SECOND_S, Sliding

PER_CARD_SECOND: Final = 9
"""Of the platform's 10."""
PER_CHAT_SECOND: Final = 4
"""Of the platform's 5, which it counts over all bots of a group."""
SPILL_AFTER_S: Final = 0.25
"""So long a call waits for an API before it looks at the next one that would do."""
WAITERS_MAX: Final = 10_000
RECENT_TEXT_S: Final = 5.0
"""A card whose text changed within this time counts as one that streams."""

WaiterT = TypeVar("WaiterT", bound=Hashable)


class Want(Struct, frozen=True, kw_only=True):
    """One call that wants to be made."""

    apis: tuple[str, ...]
    """Those that would do, the best one first; at least one."""
    priority: int
    """Smaller goes first."""
    resource: str | None = None
    """The card or chat whose own limit it counts against too."""
    resource_per_second: int = PER_CARD_SECOND


class Ready(Struct, Generic[WaiterT], frozen=True, kw_only=True):
    """This waiter may call this API now, and is counted as having called."""

    waiter: WaiterT
    want: Want
    api: str


class Budget(Generic[WaiterT]):
    """Holds those who wait, and chooses who goes.

    Whoever went must be reported back: :meth:`answered`, :meth:`lost` or :meth:`refund`.
    ``next_ready`` costs a look at the head of each queue of like wants, and past waiters
    whose own card or chat has to pause.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        shares: Mapping[str, Shares] | None = None,
        *,
        used_up_at: float | None = None,
    ) -> None:
        """*used_up_at*: the minute before this counts as used evenly in full, by another."""
        self._limits = limits or Limits()
        self._shares = shares or {}
        self._apis: dict[str, ApiBudget] = {}
        self._resources: dict[str, ResourceBudget] = {}
        self._queues: dict[tuple[int, tuple[str, ...]], _Queue[WaiterT]] = {}
        self._resting: list[tuple[float, int, _Waiting[WaiterT]]] = []
        self._full: dict[str, list[_Waiting[WaiterT]]] = {}  # until an answer, by resource
        self._numbers = itertools.count()
        self._allowed: int | None = None
        self._used_up_at = used_up_at
        self._streaming: OrderedDict[str, float] = OrderedDict()
        self.waiting = 0
        self.awaits_answer = False
        """Whether somebody may go because of an answer, and not only because of the time."""

    def allow_up_to(self, priority: int) -> None:
        """Let nobody of a larger priority go, until called again; they wait on."""
        self._allowed = priority

    def wait(self, waiter: WaiterT, want: Want, now: float) -> bool:
        """Enter *waiter*; False: too many wait already."""
        if self.waiting >= WAITERS_MAX:
            return False
        self._enqueue(_Waiting(next(self._numbers), now, waiter, want))
        self.waiting += 1
        return True

    def has_waiter(self, want: Want) -> bool:
        """Whether somebody waits for the same: then who comes now changes nothing."""
        return (want.priority, want.apis) in self._queues

    def next_ready(
        self, now: float, most: int | None = None
    ) -> tuple[Ready[WaiterT] | None, float | None]:
        """Return who may call now, taken off the queue and counted as having called.

        With *most*, nobody of a larger priority. Otherwise None, and when to ask again (None:
        when an answer or a waiter came).
        """
        self._wake_rested(now)
        self.awaits_answer = bool(self._full)
        earliest = self._resting[0][0] if self._resting else NEVER
        for priority, queues in self._by_priority():
            if self._allowed is not None and priority > self._allowed:
                break
            if most is not None and priority > most:
                break
            # The oldest head first, whichever APIs would do for it.
            for queue in sorted(queues, key=lambda queue: queue[0][0]):
                ready, free_at = self._first_of(queue, now)
                if ready is not None:
                    return ready, None
                earliest = min(earliest, free_at)
        return None, None if earliest >= NEVER else earliest

    def _first_of(self, queue: _Queue[WaiterT], now: float) -> tuple[Ready[WaiterT] | None, float]:
        """Let the first one go whose card or chat need not pause."""
        earliest = NEVER
        while queue:
            first = queue[0][1]
            api, free_at = self._best_api(first, now)
            if api is None:
                return None, min(earliest, free_at)
            heapq.heappop(queue)
            if not queue:
                del self._queues[first.want.priority, first.want.apis]
            rest = self._rest_until(first.want, now)
            if rest > now:
                self._rest(first, rest)
                earliest = min(earliest, rest)
                continue
            self._leave(first.want, api, now)
            self.waiting -= 1
            return Ready(waiter=first.waiter, want=first.want, api=api), now
        return None, earliest

    def _best_api(self, waiting: _Waiting[WaiterT], now: float) -> tuple[str | None, float]:
        earliest = NEVER
        for place, api in enumerate(waiting.want.apis):
            free_at = max(
                waiting.since + place * SPILL_AFTER_S,
                self._api(api, now).free_at(now, waiting.want.priority),
            )
            if free_at <= now:
                return api, now
            self.awaits_answer = self.awaits_answer or free_at >= NEVER
            earliest = min(earliest, free_at)
        return None, earliest

    # ── what became of those who went ───────────────────────────────────────

    def answered(self, ready: Ready[WaiterT], now: float) -> None:
        """The platform answered this call, whatever it answered."""
        for calls in self._windows(ready):
            calls.answer(now)
        self._wake_full(ready.want)

    def lost(self, ready: Ready[WaiterT], now: float) -> None:
        """This call got no answer; it may have arrived, or be on its way still."""
        for calls in self._windows(ready):
            calls.lose(now)
        self._wake_full(ready.want)

    def refund(self, ready: Ready[WaiterT], now: float) -> None:
        """The one who was let go did not call after all."""
        self._apis[ready.api].refund(now, ready.want.priority)
        if ready.want.resource is not None:
            self._resources[ready.want.resource].calls.refund()
        self._wake_full(ready.want)

    def limited(self, api: str, priority: int, retry_after_s: float, now: float) -> None:
        """The platform answered "too many" to a call of *priority*: rest, and do less after."""
        self._api(api, now).refused(priority, retry_after_s, now)

    def limited_resource(
        self, resource: str, priority: int, retry_after_s: float, now: float
    ) -> None:
        """One card or chat was called too often; the others go on, and what is more urgent."""
        window = self._resources.setdefault(resource, ResourceBudget())
        window.pause(priority, now + max(retry_after_s, PAUSE_MIN_S))

    def forget_idle(self, now: float) -> None:
        """Drop the windows of cards and chats nobody called for a while."""
        idle = [
            name
            for name, window in self._resources.items()
            if window.calls.is_idle(now) and window.paused_until <= now
        ]
        for name in idle:
            del self._resources[name]

    # ── how much there is ───────────────────────────────────────────────────

    def text_every_s(self, apis: tuple[str, ...], now: float) -> float:
        """Return how far apart the updates of one card are likely to be, by these APIs."""
        while self._streaming and next(iter(self._streaming.values())) < now - RECENT_TEXT_S:
            self._streaming.popitem(last=False)
        known = [self._api(api, now) for api in apis]
        rate = sum(api.text.per_second(api.learned.factor(now)) for api in known)
        return len(self._streaming) / rate

    def used(self, now: float) -> dict[str, Used]:
        """Return how much of each API's budget is used, of those ever called."""
        return {
            name: Used(
                in_second=api.calls.used(now, SECOND_S),
                in_minute=api.calls.used(now, MINUTE_S),
                second_max=int(api.limits.per_second * api.learned.factor(now)),
                minute_max=int(api.limits.per_minute * api.learned.factor(now)),
            )
            for name, api in self._apis.items()
        }

    # ── inside ──────────────────────────────────────────────────────────────

    def _by_priority(self) -> Iterator[tuple[int, list[_Queue[WaiterT]]]]:
        keys = sorted(self._queues)
        for priority, same in itertools.groupby(keys, key=lambda key: key[0]):
            yield priority, [self._queues[key] for key in same]

    def _windows(self, ready: Ready[WaiterT]) -> Iterator[Sliding]:
        yield self._apis[ready.api].calls
        if ready.want.resource is not None:
            yield self._resources[ready.want.resource].calls

    def _api(self, name: str, now: float) -> ApiBudget:
        api = self._apis.get(name)
        if api is None:
            api = self._apis[name] = ApiBudget(self._limits, self._shares.get(name, Shares()))
            if self._used_up_at is not None:
                api.use_up(self._used_up_at, now)
        return api

    def _enqueue(self, waiting: _Waiting[WaiterT]) -> None:
        key = waiting.want.priority, waiting.want.apis
        heapq.heappush(self._queues.setdefault(key, []), (waiting.number, waiting))

    def _rest(self, waiting: _Waiting[WaiterT], until: float) -> None:
        """Its card or chat may not be called before *until*, or before an answer."""
        if until >= NEVER and waiting.want.resource is not None:
            self.awaits_answer = True
            self._full.setdefault(waiting.want.resource, []).append(waiting)
        else:
            heapq.heappush(self._resting, (until, waiting.number, waiting))

    def _rest_until(self, want: Want, now: float) -> float:
        window = self._resources.get(want.resource) if want.resource else None
        if window is None:
            return now
        return window.free_at(now, want.priority, want.resource_per_second)

    def _leave(self, want: Want, api: str, now: float) -> None:
        self._apis[api].leave(now, want.priority)
        if want.resource is None:
            return
        self._resources.setdefault(want.resource, ResourceBudget()).calls.leave()
        if want.priority == Priority.TEXT:
            self._streaming[want.resource] = now
            self._streaming.move_to_end(want.resource)

    def _wake_rested(self, now: float) -> None:
        """Let those whose card may be called again back in, by the time they began to wait."""
        while self._resting and self._resting[0][0] <= now:
            self._enqueue(heapq.heappop(self._resting)[2])

    def _wake_full(self, want: Want) -> None:
        for waiting in self._full.pop(want.resource, ()) if want.resource else ():
            self._enqueue(waiting)


class _Waiting(Generic[WaiterT]):
    """One who waits, since when, and for what."""

    __slots__ = ("number", "since", "waiter", "want")

    def __init__(self, number: int, since: float, waiter: WaiterT, want: Want) -> None:
        self.number = number
        self.since = since
        self.waiter = waiter
        self.want = want


_Queue = list[tuple[int, _Waiting[WaiterT]]]
"""A heap, the one that began to wait first at its head."""
