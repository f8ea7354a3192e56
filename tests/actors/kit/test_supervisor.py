"""Supervision: who is restarted with whom, in which order, and when it gives up."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.kit.supervisor import (
    Child,
    Restart,
    RestartBudget,
    RestartsExhausted,
    StartTimedOut,
    Strategy,
    Supervisor,
)

pytestmark = pytest.mark.virtual_time

Body = Callable[[], Awaitable[None]]


class Story:
    """Children that record what happens to them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.crash = {name: trio.Event() for name in "abc"}

    def child(self, name: str, restart: Restart = Restart.PERMANENT) -> Child:
        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            self.log.append(f"+{name}")
            self.crash[name] = trio.Event()
            task_status.started()
            try:
                await self.crash[name].wait()
                raise RuntimeError(name)
            finally:
                self.log.append(f"-{name}")

        return Child(name=name, run=run, restart=restart)

    def report(self, what: str, name: str, _crash: BaseException | None) -> None:
        if what != "crashed":
            self.log.append(f"{what} {name}")

    def supervisor(self, strategy: Strategy, **budget: float) -> Supervisor:
        return Supervisor(
            [self.child(name) for name in "abc"],
            strategy,
            RestartBudget(restarts_max=int(budget.get("restarts_max", 3)), window_s=30, jitter=0),
            report=self.report,
            rng=random.Random(1),
        )


async def test_children_start_in_order_and_stop_in_reverse() -> None:
    story = Story()
    async with trio.open_nursery() as nursery:
        await nursery.start(story.supervisor(Strategy.REST_FOR_ONE).run)
        nursery.cancel_scope.cancel()
    assert story.log == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_one_for_one_restarts_the_crashed_one_alone() -> None:
    story = Story()
    async with trio.open_nursery() as nursery:
        await nursery.start(story.supervisor(Strategy.ONE_FOR_ONE).run)
        story.crash["b"].set()
        await trio.sleep(10)
        assert sorted(story.log[:3]) == ["+a", "+b", "+c"]
        assert story.log[3:] == ["-b", "+b"]
        nursery.cancel_scope.cancel()


async def test_rest_for_one_restarts_what_was_started_after_it() -> None:
    story = Story()
    async with trio.open_nursery() as nursery:
        await nursery.start(story.supervisor(Strategy.REST_FOR_ONE).run)
        story.crash["b"].set()
        await trio.sleep(10)
        assert story.log == ["+a", "+b", "+c", "-b", "-c", "+b", "+c"]
        nursery.cancel_scope.cancel()


async def test_a_spent_budget_stops_the_others_and_fails_upwards() -> None:
    story = Story()
    with pytest.RaisesGroup(
        pytest.RaisesExc(RestartsExhausted, match="b: 3 restarts"),
        flatten_subgroups=True,
    ):
        async with trio.open_nursery() as nursery:
            await nursery.start(story.supervisor(Strategy.ONE_FOR_ONE, restarts_max=2).run)
            for _ in range(3):
                story.crash["b"].set()
                await trio.sleep(5)
    assert sorted(story.log[-2:]) == ["-a", "-c"]


async def test_a_child_that_is_late_to_stop_is_named_and_waited_for() -> None:
    log: list[str] = []

    async def stubborn(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(9, shield=True):
                await trio.sleep(8)
            log.append("ended")

    supervisor = Supervisor(
        [Child(name="s", run=stubborn, stop_within_s=2)],
        Strategy.ONE_FOR_ONE,
        RestartBudget(),
        report=lambda what, name, _crash: log.append(f"{what}: {name}"),
        rng=random.Random(1),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        nursery.cancel_scope.cancel()
    assert log == ["slow to stop: s", "ended"]


async def test_a_transient_child_that_ends_well_stays_ended() -> None:
    runs = 0

    async def once(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal runs
        runs += 1
        task_status.started()
        await trio.sleep(1)

    supervisor = Supervisor(
        [Child(name="once", run=once, restart=Restart.TRANSIENT)],
        Strategy.ONE_FOR_ONE,
        RestartBudget(),
        report=lambda *_: None,
        rng=random.Random(1),
    )
    await supervisor.run()
    assert runs == 1


async def test_what_must_start_in_order_is_an_error_at_once_when_it_cannot() -> None:
    supervisor = make([Child(name="x", run=broken)], Strategy.REST_FOR_ONE)
    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        await supervisor.run()


async def test_who_cannot_start_spends_the_budget_and_nothing_else() -> None:
    log: list[str] = []
    supervisor = make([Child(name="x", run=broken), child_of(log, "y")], Strategy.ONE_FOR_ONE)
    with pytest.RaisesGroup(
        pytest.RaisesExc(RestartsExhausted, match="x: 6 restarts"), flatten_subgroups=True
    ):
        await supervisor.run()
    assert log == ["0.0 y ready", "3.1 y ended"]


async def test_a_child_that_is_not_ready_in_time_is_named() -> None:
    supervisor = make([child_of([], "slow", ready_s=50)], Strategy.REST_FOR_ONE)
    with pytest.RaisesGroup(
        pytest.RaisesExc(StartTimedOut, match="slow was not ready in 10 s"), flatten_subgroups=True
    ):
        await supervisor.run()


async def test_one_that_starts_slowly_keeps_no_other_down() -> None:
    log: list[str] = []
    children = [
        child_of(log, "slow", ready_s=50, start_within_s=60, lasts_s=[5]),
        child_of(log, "quick", lasts_s=[7]),
    ]
    supervisor = make(children, Strategy.ONE_FOR_ONE)
    with trio.move_on_after(62):
        await supervisor.run()
    assert [line for line in log if "quick" in line] == [
        "0.0 quick ready",
        "7.0 quick ended",
        "7.1 quick ready",
        "62.0 quick ended",
    ]


async def test_what_is_stated_to_start_after_another_waits_for_it_once() -> None:
    log: list[str] = []
    children = [
        child_of(log, "second", after=("first",), lasts_s=[3]),
        child_of(log, "first", ready_s=2, lasts_s=[4]),
    ]
    with trio.move_on_after(7):
        await make(children, Strategy.ONE_FOR_ONE).run()
    assert log[:5] == [
        "2.0 first ready",
        "2.0 second ready",
        "5.0 second ended",
        "5.1 second ready",
        "6.0 first ended",
    ]


Course: TypeAlias = tuple[list[int], list[int], int, Restart]
CHILDREN = (
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 40), min_size=1, max_size=4),  # ready after, each run
            st.lists(st.integers(1, 20), min_size=1, max_size=4),  # lasts, each run
            st.integers(0, 8),  # takes to stop
            st.sampled_from(Restart),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 90),
    st.random_module(),
)
"""What each of them does, for how long one looks, and in which order Trio runs them."""


@given(*CHILDREN)
def test_what_becomes_of_a_child_is_what_becomes_of_it_alone(
    children: list[Course], until: int, schedule: Any
) -> None:
    assert_each_runs_as_if_alone(children, until, schedule)


def assert_each_runs_as_if_alone(children: list[Course], until: int, schedule: Any) -> None:
    """The model of side by side. *schedule* is the order in which Trio runs what is ready."""

    async def story(numbers: list[int], log: list[str]) -> None:
        made = [
            child_of(
                log,
                f"c{number}",
                ready_s=children[number][0],
                lasts_s=[*children[number][1], 1000],
                stop_s=children[number][2],
                # Limits end when nothing else does, and no sum of them is x.x5 s.
                start_within_s=30.04,
                stop_within_s=5.06,
                restart=children[number][3],
            )
            for number in numbers
        ]
        supervisor = Supervisor(
            made,
            Strategy.ONE_FOR_ONE,
            RestartBudget(restarts_max=1000, jitter=0),
            report=lambda what, name, _crash: log.append(
                f"{trio.current_time():.1f} {name} {what}"
            ),
            rng=random.Random(1),
        )
        with trio.move_on_after(until + 0.03):  # when nothing else happens
            await supervisor.run()

    together: list[str] = []
    trio.run(story, list(range(len(children))), together, clock=MockClock(autojump_threshold=0))
    for number in range(len(children)):
        alone: list[str] = []
        trio.run(story, [number], alone, clock=MockClock(autojump_threshold=0))
        assert [line for line in together if f" c{number} " in line] == alone


async def broken(*, task_status: trio.TaskStatus[None]) -> None:
    raise OSError("no such file")


def make(children: list[Child], strategy: Strategy) -> Supervisor:
    return Supervisor(
        children, strategy, RestartBudget(jitter=0), report=lambda *_: None, rng=random.Random(1)
    )


def child_of(
    log: list[str],
    name: str,
    *,
    ready_s: int | list[int] = 0,
    lasts_s: list[int] | None = None,
    stop_s: int = 0,
    **options: Any,
) -> Child:
    """A child that is ready after *ready_s*, and crashes *lasts_s* later, run by run.

    Of a list the last one is for all later runs; without *lasts_s* it does not crash.
    """
    starts = [ready_s] if isinstance(ready_s, int) else list(ready_s)
    lasts = list(lasts_s or [])
    alive = 0

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal alive
        alive += 1
        assert alive == 1, "two runs of one child"
        try:
            await trio.sleep(starts.pop(0) if len(starts) > 1 else starts[0])
            task_status.started()
            log.append(f"{trio.current_time():.1f} {name} ready")
            if lasts:
                await trio.sleep(lasts.pop(0))
                raise RuntimeError(name)
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(20, shield=True):
                await trio.sleep(stop_s)
            log.append(f"{trio.current_time():.1f} {name} ended")
            alive -= 1

    return Child(name=name, run=run, **options)
