"""Lanes under random schedules: order, one at a time, none twice, none after a stop."""

from __future__ import annotations

from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.messages import lane, link
from protocol.ids import ConnectionId, MessageId, RowId
from tests.actors.lanes.test_lane import CANCEL_DEADLINE_S, SESSION, World, open_world, row
from tests.kit.sizes import examples

ACTIONS = st.lists(
    st.one_of(
        st.just(("prompt",)),
        st.tuples(st.just("end"), st.sampled_from(("complete", "aborted", "error"))),
        st.just(("stop",)),
        st.just(("recall",)),
        st.just(("revoke",)),
        st.just(("reconnect",)),
        st.just(("disconnect",)),
        st.tuples(st.just("wait"), st.sampled_from((0.1, 5.0, CANCEL_DEADLINE_S + 1))),
    ),
    max_size=40,
)


class Model:
    """What a person would expect of one session's lane."""

    def __init__(self) -> None:
        self.prompts = 0
        self.given: list[int] = []
        """Rows in the order they were handed over."""
        self.in_flight: int | None = None
        self.cancelled_at: float | None = None
        self.answered: list[int] = []
        self.cancels = 0
        self.attached = True

    def hand_over(self) -> None:
        """A free lane takes the next prompt, if there is one."""
        if self.attached and self.in_flight is None and len(self.given) < self.prompts:
            self.in_flight = len(self.given) + 1
            self.given.append(self.in_flight)
            self.cancelled_at = None

    def over(self, *, answered: bool) -> None:
        if self.in_flight is not None and answered:
            self.answered.append(self.in_flight)
        self.in_flight = None

    def cancel(self, now: float) -> None:
        if self.in_flight is not None and self.cancelled_at is None:
            self.cancelled_at = now
            self.cancels += 1

    def pass_time(self, now: float) -> None:
        if self.cancelled_at is not None and now - self.cancelled_at >= CANCEL_DEADLINE_S:
            self.over(answered=not self.revoked)
            self.cancelled_at = None

    revoked = False


async def follow(actions: list[tuple[Any, ...]]) -> None:
    async with open_world() as world:
        await world.attach()
        model, connection = Model(), 1
        for action in actions:
            model.pass_time(trio.current_time())
            match action:
                case ("prompt",):
                    model.prompts += 1
                    await world.give(row(model.prompts))
                case ("end", status) if model.in_flight is not None:
                    await world.end(len(model.given) - 1, status)
                    model.over(answered=not model.revoked)
                case ("stop",):
                    await world.stop()
                    model.cancel(trio.current_time())
                case ("recall",) if model.in_flight is not None:
                    message_id = MessageId(f"om_{model.in_flight}")
                    await world.lanes_tx.send(lane.StopRecalled(message_id=message_id))
                    model.cancel(trio.current_time())
                case ("revoke",) if model.in_flight is not None:
                    await world.lanes_tx.send(
                        lane.RowRevoked(session_id=SESSION, row_id=RowId(model.in_flight))
                    )
                    model.cancel(trio.current_time())
                    model.revoked = True
                case ("reconnect",):
                    connection += 1
                    await world.attach(connection=connection)
                    model.attached = True
                    model.over(answered=False)
                case ("disconnect",) if model.attached:
                    await world.lanes_tx.send(
                        lane.Detached(session_id=SESSION, connection_id=ConnectionId(connection))
                    )
                    model.attached = False
                    model.over(answered=False)
                case ("wait", seconds):
                    await trio.sleep(seconds)
                    model.pass_time(trio.current_time())
            await wait_all_tasks_blocked()
            before = len(model.given)
            model.hand_over()
            if len(model.given) > before:
                model.revoked = False
            check(world, model)


def check(world: World, model: Model) -> None:
    offered = [one.offer.prompt.content for one in world.sent if isinstance(one, link.Give)]
    assert offered == [f"prompt {number}" for number in model.given]
    assert len(world.cancels()) == model.cancels, "each stopped turn is cancelled once"
    assert world.answered == [RowId(number) for number in model.answered]


@settings(max_examples=examples(150))
@given(ACTIONS)
def test_a_lane_does_what_a_person_would_expect(actions: list[tuple[Any, ...]]) -> None:
    trio.run(follow, actions, clock=MockClock(autojump_threshold=0))
