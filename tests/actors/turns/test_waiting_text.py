"""Text that wakes no turn until it can be shown: none is late for it, and none is lost."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.messages import gateway
from protocol.wire.messages import Plan
from tests.actors.turns.test_turns import World

pytestmark = pytest.mark.virtual_time

HELD_S = 60.0


class Budget(World):
    """Its gateway grants calls of *held* only after a minute, or when they are given up."""

    held: tuple[gateway.Priority, ...] = ()

    async def serve_gateway(self) -> None:
        async with trio.open_nursery() as calls:
            async for message in self._gateway_rx:
                match message:
                    case gateway.Permit():
                        calls.start_soon(self._permit, message)
                    case gateway.Call():
                        calls.start_soon(self._call, message)

    async def _permit(self, wish: gateway.Permit) -> None:
        until = trio.current_time() + (HELD_S if wish.priority in self.held else 0.0)
        while trio.current_time() < until and not wish.reply.abandoned:
            await trio.sleep(0.1)
        wish.reply.send(gateway.Granted(permit=1, api=wish.apis[0]))


async def test_words_do_not_wait_for_what_is_less_urgent() -> None:
    world = Budget()
    world.held = (gateway.Priority.TICK,)
    async with trio.open_nursery() as nursery:
        for served in (world.serve_gateway, world.serve_journal, world.serve_ownership):
            nursery.start_soon(served)
        nursery.start_soon(world.show)
        await trio.sleep(5)  # a tick waits for its share
        await world.stream("words")
        await trio.sleep(1)
        assert world.answer() == "words"
        nursery.cancel_scope.cancel()


async def test_words_that_wait_for_their_share_are_noted_and_shown_together() -> None:
    world = Budget()
    async with trio.open_nursery() as nursery:
        for served in (world.serve_gateway, world.serve_journal, world.serve_ownership):
            nursery.start_soon(served)
        nursery.start_soon(world.show)
        await trio.sleep(5)
        world.held = (gateway.Priority.TEXT,)
        for number in range(8):
            await world.stream(f"{number} ")
            await trio.sleep(0.2)
        await trio.sleep(2)
        (entry,) = world.entries.values()
        assert entry.text == "0 1 2 3 4 5 6 7 ", "a crash loses two seconds at most"
        assert world.answers == []
        await trio.sleep(HELD_S)
        assert world.answers == ["0 1 2 3 4 5 6 7 "]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("last", ["words", "plan"])
async def test_words_that_wait_are_there_when_the_turn_is_cut(last: str) -> None:
    """Also where what can't wait comes as nobody listens any more."""
    world = Budget()
    async with trio.open_nursery() as nursery:
        for served in (world.serve_gateway, world.serve_journal, world.serve_ownership):
            nursery.start_soon(served)
        with trio.CancelScope() as cut:
            async with trio.open_nursery() as turns:
                turns.start_soon(world.show)
                await trio.sleep(5)
                world.held = (gateway.Priority.TEXT,)
                for word in ("these ", "are ", "all"):
                    await world.stream(word)
                    await wait_all_tasks_blocked()
                cut.cancel()
                if last == "plan":
                    await world.inputs.send(Plan(turn_id="t", entries=[]))
        assert (world.answer(), world.is_final()) == ("these are all", True)
        nursery.cancel_scope.cancel()
