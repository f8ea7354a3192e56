"""Restart children that crash, inside a budget; fail upwards when it is spent.

The semantics are Erlang/OTP's, with what structured concurrency changes: nothing
can kill a task. A child is asked to stop; one that is late is named, and waited
for, because two runs would be two owners of one state.

How it works: each child runs in a scope of its own inside one service nursery,
so that a cancellation from outside reaches the supervisor first, which then stops
its children in the reverse of their order. All decisions are taken in one task.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

import msgspec
import trio
from tricycle import open_service_nursery


class Restart(Enum):
    """When the end of a child calls for a new run."""

    PERMANENT = auto()  # whenever it ends
    TRANSIENT = auto()  # when it crashed
    TEMPORARY = auto()  # never


class Strategy(Enum):
    """Who is restarted along with the child that ended."""

    ONE_FOR_ONE = auto()
    REST_FOR_ONE = auto()  # and those started after it


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How many restarts in how long, and the pause before each."""

    restarts_max: int = 5
    window_s: float = 30.0
    backoff_first_s: float = 0.1
    backoff_max_s: float = 30.0
    jitter: float = 0.25


class Run(Protocol):
    """One run of a child: builds its state afresh and reports when it is ready."""

    async def __call__(self, *, task_status: trio.TaskStatus[None]) -> None: ...


class Child(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    run: Run
    restart: Restart = Restart.PERMANENT
    start_within_s: float = 10.0
    stop_within_s: float = 5.0


Report = Callable[[str, str, BaseException | None], None]
"""Called with ``(what, child name, crash)``; must not block or raise."""


class RestartsExhausted(Exception):
    """A supervisor has spent its budget. The last crash is the cause."""


class _Running:
    """One run of one child: the scope that ends it and the event that is set when it has."""

    __slots__ = ("ended", "scope", "stopping")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.stopping = False


class _Started(trio.TaskStatus[None]):
    """Remembers whether the child reported to be ready."""

    def __init__(self, inner: trio.TaskStatus[None]) -> None:
        self._inner = inner
        self.called = False

    def started(self, value: None = None) -> None:
        self.called = True
        self._inner.started(value)


class Supervisor:
    """Owns a nursery of children and takes every decision about them."""

    def __init__(
        self,
        children: Sequence[Child],
        strategy: Strategy,
        budget: Budget,
        *,
        report: Report,
        rng: random.Random,
    ) -> None:
        self._children = tuple(children)
        self._strategy = strategy
        self._budget = budget
        self._report = report
        self._rng = rng
        self._running: dict[str, _Running] = {}
        self._crashes: dict[str, Exception | None] = {}  # ended runs not yet looked at
        self._someone_ended = trio.Event()
        self._restarts: deque[float] = deque()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the children in order and keep them alive; return when none is left.

        Cancelled, it stops them in reverse order, each within its own deadline.

        Raises:
            ExceptionGroup: of :class:`RestartsExhausted`, or of what kept a child
                from starting.
        """
        async with open_service_nursery() as nursery:
            try:
                for child in self._children:
                    await self._start(nursery, child)
                task_status.started()
                await self._watch(nursery)
            finally:
                await self._stop(self._children)  # noqa: ASYNC102  # it shields itself

    async def _watch(self, nursery: trio.Nursery) -> None:
        serving = {child.name for child in self._children}
        while serving:
            await self._someone_ended.wait()
            self._someone_ended = trio.Event()
            for child in self._children:
                if child.name not in self._crashes or child.name in self._running:
                    continue
                crash = self._crashes.pop(child.name)
                if child.restart is Restart.PERMANENT or (
                    child.restart is Restart.TRANSIENT and crash is not None
                ):
                    await self._restart(nursery, child, crash)
                else:
                    serving.discard(child.name)

    async def _start(self, nursery: trio.Nursery, child: Child) -> None:
        with trio.fail_after(child.start_within_s):
            await nursery.start(self._run_child, child, name=child.name)

    async def _run_child(self, child: Child, *, task_status: trio.TaskStatus[None]) -> None:
        """One run. A crash becomes a note for the supervisor; a cancellation goes on."""
        run = self._running[child.name] = _Running()
        started = _Started(task_status)
        crash: ExceptionGroup[Exception] | None = None
        try:
            with run.scope:
                await child.run(task_status=started)
        except* Exception as group:  # noqa: BLE001  # whatever it was, it is this child's end
            # Reported here: a Cancelled beside it leaves as soon as this block ends.
            self._report("crashed", child.name, group)
            crash = group
        finally:
            del self._running[child.name]
            run.ended.set()
        if not started.called:
            raise crash or RuntimeError(f"{child.name} ended before it was ready")
        if not run.stopping:
            self._crashes[child.name] = crash
            self._someone_ended.set()

    async def _restart(self, nursery: trio.Nursery, ended: Child, crash: Exception | None) -> None:
        group = self._group_of(ended)
        await self._stop(group)
        cause = crash
        while True:
            self._spend(ended, cause)
            await trio.sleep(self._pause_s())
            try:
                for child in group:
                    if child.name not in self._running:
                        await self._start(nursery, child)
            except Exception as failure:  # noqa: BLE001  # a failed start spends the same budget
                self._report("start failed", ended.name, failure)
                cause = failure
            else:
                return

    def _group_of(self, child: Child) -> tuple[Child, ...]:
        if self._strategy is Strategy.ONE_FOR_ONE:
            return (child,)
        return self._children[self._children.index(child) :]

    async def _stop(self, group: tuple[Child, ...]) -> None:
        """Stop in reverse order. Shielded, with the sum of the deadlines as its bound."""
        for child in reversed(group):
            run = self._running.get(child.name)
            if run is None:
                continue
            run.stopping = True
            run.scope.cancel(reason=f"supervisor stops {child.name}")
            with trio.move_on_after(child.stop_within_s, shield=True) as limit:
                await run.ended.wait()
            if limit.cancelled_caught:
                self._report("slow to stop", child.name, None)
                await run.ended.wait()

    def _spend(self, child: Child, cause: Exception | None) -> None:
        now = trio.current_time()
        self._restarts.append(now)
        while now - self._restarts[0] > self._budget.window_s:
            self._restarts.popleft()
        if len(self._restarts) > self._budget.restarts_max:
            raise RestartsExhausted(
                f"{child.name}: {len(self._restarts)} restarts in {self._budget.window_s:g} s"
            ) from cause

    def _pause_s(self) -> float:
        doubled = self._budget.backoff_first_s * 2 ** (len(self._restarts) - 1)
        pause: float = min(self._budget.backoff_max_s, doubled)
        return pause * (1 + self._rng.uniform(0, self._budget.jitter))
