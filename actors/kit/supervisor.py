"""Restart children that crash, inside a budget; fail upwards when it is spent.

The semantics are Erlang/OTP's, with what structured concurrency changes: nothing
can kill a task. A child is asked to stop; one that is late is named, and waited
for, because two runs would be two owners of one state.

How it works: each child runs in a scope of its own inside one service nursery,
so that a cancellation from outside reaches the supervisor first, which then stops
its children. Under ``ONE_FOR_ONE`` each child has a keeper, a task that starts it,
waits for its end and starts it again: what one child takes delays no other, except
those that are stated to start after it. Under ``REST_FOR_ONE`` one task decides, and
the order of the list is the order of every start, and in reverse of every stop.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

import msgspec
import trio

from actors.kit.services import open_service_nursery


class Restart(Enum):
    """When the end of a child calls for a new run."""

    PERMANENT = auto()  # whenever it ends
    TRANSIENT = auto()  # when it crashed
    TEMPORARY = auto()  # never


class Strategy(Enum):
    """Who is restarted along with the child that ended."""

    ONE_FOR_ONE = auto()
    REST_FOR_ONE = auto()  # and those started after it


class RestartBudget(msgspec.Struct, frozen=True, kw_only=True):
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
    after: tuple[str, ...] = ()
    """Children that are ready, or have ended for good, before it starts for the first time.
    For ``ONE_FOR_ONE``: otherwise the order is that of the list."""


ReportCrash = Callable[[str, str, BaseException | None], None]
"""Called with ``(what, child name, crash)``; must not block or raise."""


class RestartsExhausted(Exception):
    """A supervisor has spent its budget. The last crash is the cause."""


class StartTimedOut(Exception):
    """A child was not ready in time; it was stopped."""


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
        budget: RestartBudget,
        *,
        report: ReportCrash,
        rng: random.Random,
    ) -> None:
        self._children = tuple(children)
        self._strategy = strategy
        self._budget = budget
        self._report = report
        self._rng = rng
        self._running: dict[str, _Running] = {}
        self._someone_ended = trio.Event()
        self._crashes: dict[str, Exception | None] = {}  # ended runs not yet looked at
        self._restarts: deque[tuple[float, str]] = deque()
        self._settled = {child.name: trio.Event() for child in children}
        """Set when the child was ready once, or has ended for good."""
        unknown = {name for child in children for name in child.after} - self._settled.keys()
        if unknown:
            raise ValueError(f"no such children to start after: {', '.join(sorted(unknown))}")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the children and keep them alive; return when none is left.

        Started when each child is ready; under ``ONE_FOR_ONE`` also when one has failed to
        start, which is a crash like any other. Cancelled, it stops them, each within its own
        limit.

        Raises:
            ExceptionGroup: of :class:`RestartsExhausted`, or of what kept a child of a
                ``REST_FOR_ONE`` supervisor from its first start.
        """
        async with open_service_nursery() as nursery:
            if self._strategy is Strategy.ONE_FOR_ONE:
                await self._keep_all(nursery, task_status)
                return
            try:
                for child in self._children:
                    await self._start(nursery, child)
                task_status.started()
                await self._watch(nursery)
            finally:
                for child in reversed(self._children):
                    await self._stop(child)  # noqa: ASYNC102  # it shields itself

    # ── one for one: a keeper each ──────────────────────────────────────────

    async def _keep_all(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        tried = [trio.Event() for _ in self._children]
        async with trio.open_nursery() as keepers:
            for child, first_try in zip(self._children, tried, strict=True):
                keepers.start_soon(self._keep, nursery, child, first_try)
            for first_try in tried:
                await first_try.wait()
            task_status.started()

    async def _keep(self, nursery: trio.Nursery, child: Child, tried: trio.Event) -> None:
        """Start *child*, again whenever its end calls for it; return when it has ended for good.

        Cancelled, it stops its child, whatever the others take for theirs.
        """
        try:
            for name in child.after:
                await self._settled[name].wait()
            while True:
                crash: Exception | None = None
                try:
                    await self._start(nursery, child)
                except Exception as failure:  # noqa: BLE001  # a failed start is a crash
                    self._report("start failed", child.name, failure)
                    crash = failure
                else:
                    self._settled[child.name].set()
                    tried.set()
                    run = self._running.get(child.name)
                    if run is not None:
                        await run.ended.wait()
                    crash = self._crashes.pop(child.name, None)
                tried.set()
                if not _calls_for_restart(child, crash):
                    return
                self._spend(child, crash)
                await trio.sleep(self._pause_s(child))
        finally:
            self._settled[child.name].set()
            await self._stop(child)  # noqa: ASYNC102  # it shields itself

    # ── rest for one: one task decides ──────────────────────────────────────

    async def _watch(self, nursery: trio.Nursery) -> None:
        serving = {child.name for child in self._children}
        while serving:
            await self._someone_ended.wait()
            self._someone_ended = trio.Event()
            for child in self._children:
                if child.name not in self._crashes or child.name in self._running:
                    continue
                crash = self._crashes.pop(child.name)
                if _calls_for_restart(child, crash):
                    await self._restart_rest(nursery, child, crash)
                else:
                    serving.discard(child.name)

    async def _restart_rest(
        self, nursery: trio.Nursery, ended: Child, crash: Exception | None
    ) -> None:
        rest = self._children[self._children.index(ended) :]
        for child in reversed(rest):
            await self._stop(child)
        cause = crash
        while True:
            self._spend(ended, cause)
            await trio.sleep(self._pause_s(ended))
            try:
                for child in rest:
                    if child.name not in self._running:
                        await self._start(nursery, child)
            except Exception as failure:  # noqa: BLE001  # a failed start spends the same budget
                self._report("start failed", ended.name, failure)
                cause = failure
            else:
                return

    # ── one run of one child ────────────────────────────────────────────────

    async def _start(self, nursery: trio.Nursery, child: Child) -> None:
        with trio.move_on_after(child.start_within_s) as limit:
            await nursery.start(self._run_child, child, name=child.name)
        if limit.cancelled_caught:
            raise StartTimedOut(f"{child.name} was not ready in {child.start_within_s:g} s")

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

    async def _stop(self, child: Child) -> None:
        """Ask a child to stop, and wait. Shielded: named when it is late, and waited for."""
        run = self._running.get(child.name)
        if run is None:
            return
        run.stopping = True
        run.scope.cancel(reason=f"supervisor stops {child.name}")
        with trio.move_on_after(child.stop_within_s, shield=True) as limit:
            await run.ended.wait()
        if limit.cancelled_caught:
            self._report("slow to stop", child.name, None)
            await run.ended.wait()

    def _spend(self, child: Child, cause: Exception | None) -> None:
        now = trio.current_time()
        self._restarts.append((now, child.name))
        while now - self._restarts[0][0] > self._budget.window_s:
            self._restarts.popleft()
        if len(self._restarts) > self._budget.restarts_max:
            raise RestartsExhausted(
                f"{child.name}: {len(self._restarts)} restarts in {self._budget.window_s:g} s"
            ) from cause

    def _pause_s(self, child: Child) -> float:
        """By its own restarts: what others did is no reason to wait."""
        restarts = sum(name == child.name for _, name in self._restarts)
        doubled = self._budget.backoff_first_s * 2 ** (restarts - 1)
        pause: float = min(self._budget.backoff_max_s, doubled)
        return pause * (1 + self._rng.uniform(0, self._budget.jitter))


def _calls_for_restart(child: Child, crash: Exception | None) -> bool:
    return child.restart is Restart.PERMANENT or (
        child.restart is Restart.TRANSIENT and crash is not None
    )
