"""Supervision: who is restarted with whom, in which order, and when it gives up."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import trio

from actors.kit.supervisor import (
    Budget,
    Child,
    Restart,
    RestartsExhausted,
    Strategy,
    Supervisor,
)

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
            Budget(restarts_max=int(budget.get("restarts_max", 3)), window_s=30, jitter=0),
            report=self.report,
            rng=random.Random(1),
        )


async def test_children_start_in_order_and_stop_in_reverse(
    autojump_clock: trio.abc.Clock,
) -> None:
    story = Story()
    async with trio.open_nursery() as nursery:
        await nursery.start(story.supervisor(Strategy.ONE_FOR_ONE).run)
        nursery.cancel_scope.cancel()
    assert story.log == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_one_for_one_restarts_the_crashed_one_alone(
    autojump_clock: trio.abc.Clock,
) -> None:
    story = Story()
    async with trio.open_nursery() as nursery:
        await nursery.start(story.supervisor(Strategy.ONE_FOR_ONE).run)
        story.crash["b"].set()
        await trio.sleep(10)
        assert story.log == ["+a", "+b", "+c", "-b", "+b"]
        nursery.cancel_scope.cancel()


async def test_rest_for_one_restarts_what_was_started_after_it(
    autojump_clock: trio.abc.Clock,
) -> None:
    story = Story()
    async with trio.open_nursery() as nursery:
        await nursery.start(story.supervisor(Strategy.REST_FOR_ONE).run)
        story.crash["b"].set()
        await trio.sleep(10)
        assert story.log == ["+a", "+b", "+c", "-b", "-c", "+b", "+c"]
        nursery.cancel_scope.cancel()


async def test_a_spent_budget_stops_the_others_and_fails_upwards(
    autojump_clock: trio.abc.Clock,
) -> None:
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
    assert story.log[-2:] == ["-c", "-a"]


async def test_a_child_that_is_late_to_stop_is_named_and_waited_for(
    autojump_clock: trio.abc.Clock,
) -> None:
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
        Budget(),
        report=lambda what, name, _crash: log.append(f"{what}: {name}"),
        rng=random.Random(1),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        nursery.cancel_scope.cancel()
    assert log == ["slow to stop: s", "ended"]


async def test_a_transient_child_that_ends_well_stays_ended(
    autojump_clock: trio.abc.Clock,
) -> None:
    runs = 0

    async def once(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal runs
        runs += 1
        task_status.started()
        await trio.sleep(1)

    supervisor = Supervisor(
        [Child(name="once", run=once, restart=Restart.TRANSIENT)],
        Strategy.ONE_FOR_ONE,
        Budget(),
        report=lambda *_: None,
        rng=random.Random(1),
    )
    await supervisor.run()
    assert runs == 1


async def test_a_child_that_cannot_start_is_an_error_at_once(
    autojump_clock: trio.abc.Clock,
) -> None:
    async def broken(*, task_status: trio.TaskStatus[None]) -> None:
        raise OSError("no such file")

    supervisor = Supervisor(
        [Child(name="x", run=broken)],
        Strategy.ONE_FOR_ONE,
        Budget(),
        report=lambda *_: None,
        rng=random.Random(1),
    )
    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        await supervisor.run()
