"""A picture and what is written of it are one prompt, whatever dies in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors.messages import intake
from protocol.ids import SessionId
from tests.actors.intake.world import PICTURE, World, open_world

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        world.takes_turns = True
        await nursery.start(world.run_intake)
        await trio.sleep(1)  # the bot is known: the start's own passes are over
        yield world
        nursery.cancel_scope.cancel()


async def send_apart(world: World, seconds: float, *texts: str) -> None:
    for at, text in enumerate(texts):
        await trio.sleep(seconds if at else 0)
        await world.send(text)


async def test_a_picture_and_a_text_are_one_prompt(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await send_apart(world, 1.4, PICTURE, "what is that?")
        await trio.sleep(1.4)
        assert await world.prompts() == []
        await trio.sleep(0.2)
        offer = await world.next_prompt()
        assert offer is not None
        assert offer.prompt.content == "[image]\n\nwhat is that?"
        assert offer.prompt.joined == ("om_1", "om_2")
        assert offer.prompt.message_id == "om_1"
        assert [one.file_key for one in offer.prompt.attachments] == ["img_1"]


async def test_a_picture_without_a_text_goes_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.send(PICTURE)
        await trio.sleep(1.6)
        offer = await world.next_prompt()
        assert offer is not None
        assert not offer.prompt.joined


async def test_what_comes_too_late_is_a_prompt_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await send_apart(world, 1.6, PICTURE, "what is that?")
        await trio.sleep(0.1)
        assert await world.prompts() == [("om_1",), ("om_2",)]


async def test_text_waits_for_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.send("hello")
        await trio.sleep(0.05)
        assert await world.prompts() == [("om_1",)]


async def test_five_seconds_at_most(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await send_apart(world, 1.2, *[PICTURE] * 6)
        await trio.sleep(0.1)
        assert await world.prompts() == [("om_1", "om_2", "om_3", "om_4", "om_5")]
        await trio.sleep(1.5)
        assert await world.prompts() == [("om_6",)]


async def test_a_slow_picture_keeps_its_prompt_back_and_nobody_joins_meanwhile(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as world:
        world.download_s = 10
        await send_apart(world, 1, PICTURE, "what is that?")
        await trio.sleep(4)
        await world.send("and now?")
        assert await world.prompts() == []
        await trio.sleep(6)
        assert await world.prompts() == [("om_1", "om_2"), ("om_3",)]


async def test_other_people_queue_after_it_and_other_places_do_not(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.send(PICTURE)
        await world.send("of Bob", sender="ou_bob")
        await world.send("elsewhere", "oc_2")
        await world.send("what is that?")
        await trio.sleep(0.05)
        assert await world.prompts() == [("om_3",)]
        await trio.sleep(1.6)
        assert await world.prompts() == [("om_1", "om_4"), ("om_2",)]


async def test_two_people_have_a_window_each(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        for text, sender in (
            (PICTURE, "ou_alice"),
            (PICTURE, "ou_bob"),
            ("of Alice", "ou_alice"),
            ("of Bob", "ou_bob"),
        ):
            await world.send(text, sender=sender)
        await trio.sleep(1.6)
        assert await world.prompts() == [("om_1", "om_3"), ("om_2", "om_4")]


async def test_a_command_neither_joins_nor_waits(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await world.send(PICTURE)
        await world.send("/sessions")
        await world.send("stop")
        await trio.sleep(0.1)
        assert len(world.answers()) == 2
        await world.send("what is that?")
        await trio.sleep(1.6)
        assert await world.prompts() == [("om_1", "om_4")]


async def test_what_follows_a_switch_goes_where_the_place_is_then(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await send_apart(world, 0.1, PICTURE, "/use api", "for the other")
        await trio.sleep(0.1)
        assert await world.prompts() == [("om_1",), ("om_3",)], "no window is open any more"


async def test_a_channel_session_waits_for_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        world.takes_turns = False
        await send_apart(world, 0.1, PICTURE, "what is that?")
        await trio.sleep(0.1)
        assert await world.prompts() == [("om_1",), ("om_2",)]


@pytest.mark.parametrize(("recalled", "left"), [(1, ("om_2", "om_3")), (2, ("om_1", "om_3"))])
async def test_a_recall_before_the_window_closes(
    tmp_path: Path, recalled: int, left: tuple[str, ...]
) -> None:
    async with running(tmp_path) as world:
        await send_apart(world, 0.1, PICTURE, PICTURE, "what is that?")
        await world.recall(recalled)
        await trio.sleep(1.6)
        assert await world.prompts() == [left]


async def test_a_recalled_picture_keeps_nobody_back(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        world.download_s = 60
        await world.send(PICTURE)
        await world.send("of Bob", sender="ou_bob")
        await world.recall(1)
        await trio.sleep(0.1)
        assert await world.prompts() == [("om_2",)]


async def test_a_recall_of_one_that_was_offered_stops_the_turn(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await send_apart(world, 0.1, PICTURE, "what is that?")
        await trio.sleep(1.6)
        await world.prompts()
        await world.recall(2)
        await trio.sleep(0.1)
        assert world.recalled == ["om_2"]


async def test_a_prompt_for_a_busy_session_is_marked_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        world.busy = True
        await world.send(PICTURE)
        await trio.sleep(0.1)
        assert world.marks == ["r"]
        await world.send("what is that?")
        await trio.sleep(2)
        assert world.marks == ["r"], "one mark, on the message that leads"


async def test_a_full_lane_refuses_all_of_it_once(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        world.waiting_max = 0
        await send_apart(world, 0.1, PICTURE, PICTURE, "what is that?")
        await trio.sleep(3)
        assert world.answers() == ["Session api already has 20 messages waiting."]
        assert await world.received() == []


@pytest.mark.parametrize("seconds", [0.05, 0.5, 1.05, 1.5, 2.45, 2.6])
async def test_an_intake_that_dies_on_the_way_makes_the_same_prompt(
    tmp_path: Path, seconds: float
) -> None:
    async with open_world(tmp_path) as world:
        world.takes_turns = True
        with trio.move_on_after(1 + seconds):
            async with trio.open_nursery() as nursery:
                await nursery.start(world.run_intake)
                await trio.sleep(1)
                await send_apart(world, 1, PICTURE, "what is that?")
                await trio.sleep_forever()
        if seconds < 1:
            await trio.sleep(1 - seconds)
            await world.append("what is that?")
        async with trio.open_nursery() as nursery:
            await nursery.start(world.run_intake)
            await trio.sleep(3)
            assert await world.prompts() == [("om_1", "om_2")]
            assert await world.received() == []
            nursery.cancel_scope.cancel()


async def test_what_was_left_is_joined_by_when_it_was_received(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        world.takes_turns, world.waiting_max = True, 1_000
        for number in range(250):  # more than a page
            await world.append(
                PICTURE if number % 5 == 0 else f"text {number}", f"oc_{number // 5}"
            )
            await trio.sleep(0.01 if number % 5 < 3 else 2)
        await nursery.start(world.run_intake)
        await world.tx.send(intake.Recover())
        await trio.sleep(10)
        found = await world.prompts()
        assert sorted(found, key=lambda ids: int(ids[0][3:])) == [
            ids
            for first in range(1, 251, 5)
            for ids in (tuple(f"om_{first + at}" for at in range(4)), (f"om_{first + 4}",))
        ]
        nursery.cancel_scope.cancel()


async def test_a_prompt_bound_before_a_crash_stays_bound(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.takes_turns = True
        with trio.move_on_after(1.5):
            async with trio.open_nursery() as nursery:
                await nursery.start(world.run_intake)
                await trio.sleep(1)
                await send_apart(world, 0.1, PICTURE, "what is that?")
                await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            await nursery.start(world.run_intake)
            await trio.sleep(3)
            assert await world.next_prompt(SessionId("other")) is None
            assert await world.prompts() == [("om_1", "om_2")]
            nursery.cancel_scope.cancel()
