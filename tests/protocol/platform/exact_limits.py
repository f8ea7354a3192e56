"""The platform's limits, counted exactly where calls arrive; and calls on their way there."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Iterator

from msgspec import Struct

from protocol.platform.budget import Budget, Ready, Want

PER_SECOND = 50
PER_MINUTE = 1_000
PER_CARD = 10


class ExactLimits:
    """Sliding windows; a call that is refused does not count."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=PER_MINUTE))

    def takes(self, api: str, resource: str | None, now: float) -> bool:
        limits = [(api, PER_SECOND, 1.0), (api, PER_MINUTE, 60.0)]
        if resource is not None:
            limits.append((resource, PER_CARD, 1.0))
        for name, limit, span in limits:
            calls = self._calls[name]
            if len(calls) >= limit and calls[-limit] > now - span:
                return False
        for name in {name for name, *_ in limits}:
            self._calls[name].append(now)
        return True


class Gone(Struct, frozen=True):
    """One call that was let go."""

    at: float
    who: int
    api: str


class Simulation:
    """Lets calls go through a budget to the exact limits, over a line of any latency.

    *latency* gives for each call how long it takes there and back; ``None`` for the way
    back is a call that is never answered.
    """

    def __init__(
        self,
        budget: Budget[int],
        latency: Iterator[tuple[float, float | None]] | None = None,
        *,
        again: bool = False,
    ) -> None:
        self.budget = budget
        self.now = 0.0
        self.gone: list[Gone] = []
        self.refused = 0
        self.answered: Callable[[int], None] = lambda _who: None
        self.again = again
        self._limits = ExactLimits()
        self.latency = latency or itertools.repeat((0.05, 0.05))
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), do))

    def want(self, who: int, want: Want, at: float = 0.0) -> None:
        def wait() -> None:
            assert self.budget.wait(who, want, self.now)

        self.at(at, wait)

    def run(self, until: float) -> list[Gone]:
        """Go on until then, or until nothing is left to happen; return who went."""
        while True:
            ready, ask_at = self.budget.next_ready(self.now)
            if ready is not None:
                self._go(ready)
                continue
            happens = [self._events[0][0]] if self._events else []
            next_at = min(happens if ask_at is None else [*happens, ask_at], default=None)
            if next_at is None or next_at > until:
                return self.gone
            if ask_at is not None and ask_at <= self.now:
                self.now += 1e-9  # a rounding error ahead of the window's end
            self.now = max(self.now, next_at)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()

    def _go(self, ready: Ready[int]) -> None:
        self.gone.append(Gone(self.now, ready.waiter, ready.api))
        there, back = next(self.latency)

        def arrive() -> None:
            self.refused += not self._limits.takes(ready.api, ready.want.resource, self.now)

        def answer() -> None:
            self.budget.answered(ready, self.now)
            self.answered(ready.waiter)
            if self.again:
                assert self.budget.wait(ready.waiter, ready.want, self.now)

        self.at(self.now + there, arrive)
        if back is None:
            self.at(self.now + 10.0, lambda: self.budget.lost(ready, self.now))
        else:
            self.at(self.now + there + back, answer)
