"""Intake with the real journal: what dies, is late or comes twice; in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.kit.mailbox import ask
from actors.messages import intake, journal
from protocol.ids import ChatId, MessageId, RowId, SessionId
from tests.actors.intake.world import SECOND, SESSION, open_intake, open_world

pytestmark = pytest.mark.virtual_time


async def test_a_command_that_is_read_twice_acts_once(tmp_path: Path) -> None:
    async with open_intake(tmp_path) as world:
        await trio.sleep(1)  # the bot is known: the start's own passes are over
        world.start_agent_s = 2.0
        await world.send("/new codex")
        await world.tx.send(intake.Recover())
        await trio.sleep(0.5)
        await world.tx.send(intake.Recover())
        await trio.sleep(10)
        assert world.started == ["codex"]
        assert len(world.answers()) == 1
        assert await world.received() == []


async def test_a_start_that_takes_long_shows_how_far_it_is(tmp_path: Path) -> None:
    async with open_intake(tmp_path) as world:
        await trio.sleep(1)
        world.start_agent_s = 30.0
        await world.send("/new codex robot")
        await trio.sleep(2)
        assert (world.answers(), world.marks) == ([], ["r"])
        await trio.sleep(40)
        assert world.answers() == [
            "⏳ robot is starting (8 s)…\n> fetching codex",
            "⏳ robot is starting (25 s)…\n> fetching codex",
            "Started codex.",
        ]
        assert world.marks == []


@pytest.mark.parametrize("comes_s", [0.0, 8.0, 60.0])
async def test_a_waiting_mark_goes_however_late_its_call_is_carried_out(
    tmp_path: Path, comes_s: float
) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        world.bound, world.busy, world.mark_comes_s = SESSION, True, comes_s
        await nursery.start(world.run_intake)
        await trio.sleep(1)
        await world.send("prompt")
        await trio.sleep(1)
        assert world.marks == ([] if comes_s else ["r"])
        await world.tx.send(intake.WaitsNoLonger(message_id=MessageId("om_1")))
        await trio.sleep(80)
        assert world.marks == []
        nursery.cancel_scope.cancel()


async def test_what_is_taken_out_of_the_queue_is_taken_once_however_often_the_row_is_read(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        world.bound = SESSION
        await nursery.start(world.run_intake)
        await trio.sleep(1)
        for number in range(3):
            await world.send(f"prompt {number}")
        await world.tx.send(intake.Recover())
        await world.send("/queue drop 1")
        await world.tx.send(intake.Recover())
        await trio.sleep(5)
        assert world.answers() == ["Dropped from the queue: prompt 0"]
        nursery.cancel_scope.cancel()


async def test_a_waiting_mark_goes_when_a_chat_of_another_account_drops_the_prompt(
    tmp_path: Path,
) -> None:
    async with open_intake(tmp_path) as world, trio.open_nursery() as nursery:
        world.bound, world.busy = SESSION, True
        await nursery.start(world.run_intake, SECOND)
        await world.second_tx.send(await world.append("prompt", account=SECOND))
        await trio.sleep(1)
        assert world.marks == ["r"]
        await world.send("/queue drop 1")
        await trio.sleep(1)
        assert world.answers() == ["Dropped from the queue: prompt"]
        assert world.marks == []
        nursery.cancel_scope.cancel()


async def test_an_answer_in_flight_when_everything_dies_is_sent_by_the_next_run(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path) as world:
        world.platform_s = 3.0
        async with trio.open_nursery() as first_run:
            await first_run.start(world.run_intake)
            await world.send("/help")
            await world.send("/use api")
            await trio.sleep(1)  # carried out, and the platform has not answered
            first_run.cancel_scope.cancel()
        assert world.bound == SESSION
        assert world.answers() == []
        world.platform_s = 0.01
        async with trio.open_nursery() as second_run:
            await second_run.start(world.run_intake)
            await trio.sleep(5)
            second_run.cancel_scope.cancel()
        assert sorted(answer.split("\n")[0] for answer in world.answers()) == [
            "/sessions – the sessions you can talk to",
            "Switched to api (previous: none)",
        ]
        assert await world.received() == []


async def test_an_answer_waits_for_a_platform_that_is_down_for_long(tmp_path: Path) -> None:
    async with open_intake(tmp_path) as world:
        world.platform_down = True
        await world.send("/help")
        await trio.sleep(300)
        world.platform_down = False
        await trio.sleep(120)
        assert len(world.answers()) == 1
        assert await world.received() == []


async def test_what_is_recalled_in_the_batch_it_came_in_is_given_to_nobody(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        world.bound, world.busy = SESSION, True
        await nursery.start(world.run_intake)
        await trio.sleep(1)
        for stored in (
            await world.append("never mind"),
            await world.append("", recalls=1),
            await world.append("stay"),
        ):
            world.tx.send_nowait(stored)
        await trio.sleep(10)
        assert await world.prompts() == [("om_3",)]
        assert len(world.ready) == len(world.marks) == 1
        assert await world.received() == []
        nursery.cancel_scope.cancel()


async def test_a_prompt_after_a_command_follows_what_the_command_changed(tmp_path: Path) -> None:
    async with open_intake(tmp_path) as world:
        await trio.sleep(1)
        world.start_agent_s = 5.0
        await world.send("/new codex")
        await world.send("hello")
        status = await world.send("/sessions")
        await trio.sleep(1)
        assert world.ready == []
        assert status.row_id not in await world.received(), "a command has waited for /new"
        await trio.sleep(10)
        assert len(world.ready) == 1
        assert world.dispatched == [SessionId("agent-1")]


async def test_what_came_before_a_command_is_ready_before_the_command_acts(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        await nursery.start(world.run_intake)
        await trio.sleep(1)  # else they are read as what an earlier run left, in one commit
        both = [await world.append("hello"), await world.append("/use api")]
        world.commit_s = 1.0
        for event in both:
            world.tx.send_nowait(event)
        await trio.sleep(10)
        assert world.bound_as_ready == [None]
        assert world.bound == SESSION
        nursery.cancel_scope.cancel()


async def test_a_message_that_was_recalled_at_once_reaches_nobody(tmp_path: Path) -> None:
    async with open_intake(tmp_path) as world:
        await trio.sleep(1)
        for event in (await world.append("hello"), await world.append("", recalls=1)):
            world.tx.send_nowait(event)
        await trio.sleep(10)
        assert await world.prompts() == []
        assert await world.received() == []


async def test_the_start_serves_while_it_catches_up_and_the_backlog_goes_in_order(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path) as world:
        for number in range(1_500):
            await world.append(f"old {number}", chat=f"oc_{number % 7}")
        world.commit_s = 0.5  # a page at a time, each of them slow
        async with trio.open_nursery() as nursery:
            with trio.fail_after(0.1):
                await nursery.start(world.run_intake)
            await trio.sleep(1)
            sent = [await world.send(f"new {number}") for number in range(3)]
            command = await world.send("/help")
            with trio.fail_after(5):
                while command.row_id in await world.received():
                    await trio.sleep(0.1)
            assert sent[0].row_id in await world.received(), "it has overtaken the backlog"
            await trio.sleep(600)
            assert await world.received() == []
            nursery.cancel_scope.cancel()
        order: dict[ChatId, list[RowId]] = {}
        waiting: Any = await ask(
            world.journal_tx,
            lambda reply: journal.FindWaiting(
                session_id=SESSION, takes_unbound=True, limit=10_000, reply=reply
            ),
            within_s=60,
        )
        for row in waiting:
            order.setdefault(row.prompt.chat_id, []).append(row.row_id)
        assert sum(map(len, order.values())) == 1_503
        assert all(rows == sorted(rows) for rows in order.values())


async def test_nothing_is_left_to_read_when_nothing_happens(tmp_path: Path) -> None:
    async with open_intake(tmp_path) as world:
        for number in range(20):
            await world.send(f"prompt {number}")
        await trio.sleep(5)
        with trio.fail_after(5):
            await wait_all_tasks_blocked()
        assert await world.received() == []


async def test_a_message_to_a_group_waits_for_the_name_of_the_bot_however_old_it_is(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        world.bound = SESSION
        await world.append("@_user_1 hello", "oc_group")
        await trio.sleep(20 * 60)  # nobody served, or a node whose clock is slow received it
        await nursery.start(world.run_intake)
        await trio.sleep(5)
        assert await world.prompts() == [("om_1",)]
        nursery.cancel_scope.cancel()
