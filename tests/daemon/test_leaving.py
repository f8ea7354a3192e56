"""However the daemon ends, no card is left running."""

from __future__ import annotations

import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trio

from tests.kit.daemon import (
    LEAVES_WITHIN_MS,
    Platform,
    environment,
    open_daemon,
    open_platform,
    open_served,
)
from tests.kit.ledger import wait_noted
from tests.kit.raw_proxy import RawProxy, session
from tests.kit.sizes import NIGHTLY
from tests.kit.starvation import Stopwatch

CARDS = 50 if NIGHTLY else 8
PROMISED = {"shutdownDeadlineMs": 5_000} if NIGHTLY else {}
"""What a daemon takes at most by itself: on a machine with nothing else to do, also measured."""


async def stream_cards(
    platform: Platform, state_dir: Path, stack: AsyncExitStack, count: int
) -> list[RawProxy]:
    """Open *count* sessions and leave each with a turn streaming into its card."""
    boss = await stack.enter_async_context(session(state_dir, "boss", "dispatcher"))
    mates = []
    for number in range(count):
        name = f"mate-{number}"
        mate = await stack.enter_async_context(session(state_dir, name))
        mates.append(mate)
        assert (await boss.tool("feishu_channel_acquire", number, session_id=name))["ok"]
        chat = await platform.chat("p2p", f"User {number}")
        await platform.send(chat, f"question {number}")
        deliver = await mate.until("deliver")
        await mate.send(t="ack", event_id=deliver["event_id"], attempt=1)
        await mate.send(t="delta", turn_id=deliver["turn_id"], text=f"answer {number} so far")
        await mate.barrier()  # what is not acked goes to the next owner
    await platform.wait_cards(count, "so far", within_s=60)
    return mates


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_brings_every_card_to_stopped_and_exits_0(
    state_dir: Path, number: signal.Signals
) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir, tuning=PROMISED) as daemon,
        AsyncExitStack() as stack,
    ):
        mates = await stream_cards(platform, state_dir, stack, CARDS)
        daemon.signal(number)
        assert await daemon.wait(within_s=120) == 0
        cards = await platform.wait_cards(CARDS, "🛑 Stopped · ", "so far", within_s=60)
        assert not any(card["streaming"] for card in cards)
        assert not (state_dir / "daemon.json").exists()
        for mate in mates:
            left = [message["t"] for message in await mate.wait_closed()]
            assert left[-1] == "bye"
            assert "cancel" in left


@pytest.mark.parametrize("round_trip_s", [0.15, 1.0])
async def test_sigterm_stops_every_card_of_a_slow_platform(
    state_dir: Path, round_trip_s: float
) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir, tuning=PROMISED) as daemon,
        AsyncExitStack() as stack,
    ):
        mates = await stream_cards(platform, state_dir, stack, CARDS)
        await platform.post("faults", match={}, kind="delay", seconds=round_trip_s, times=None)
        async with trio.open_nursery() as nursery:
            for mate in mates:
                nursery.start_soon(stream_words, mate)
            await platform.wait_cards(CARDS, "so farword word ", within_s=120)
            daemon.signal(signal.SIGTERM)
            assert await daemon.wait(within_s=120) == 0
            nursery.cancel_scope.cancel()
        cards = await platform.wait_cards(CARDS, "🛑 Stopped · ", "so far", within_s=60)
        assert not any(card["streaming"] for card in cards)


async def stream_words(mate: RawProxy) -> None:
    """Keep a turn's text growing, so that a call of its card is under way at any moment."""
    turn_id = next(one["turn_id"] for one in mate.seen if one["t"] == "deliver")
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while True:
            await mate.send(t="delta", turn_id=turn_id, text="word ")
            await trio.sleep(0.1)


async def test_after_sigkill_the_next_start_repairs_every_card(state_dir: Path) -> None:
    async with open_platform() as platform:
        async with AsyncExitStack() as stack:
            daemon = await stack.enter_async_context(open_daemon(platform, state_dir))
            await stream_cards(platform, state_dir, stack, CARDS)
            await daemon.kill()
        cards = await platform.cards()
        assert sum(card["streaming"] for card in cards) == CARDS
        async with open_daemon(platform, state_dir):
            repaired = await platform.wait_cards(
                CARDS, "🛑 Stopped · ", "Interrupted by a restart.", within_s=60
            )
            assert not any(card["streaming"] for card in repaired)


async def test_after_sigkill_text_panels_and_typing_mark_are_as_people_expect(
    state_dir: Path,
) -> None:
    async with open_platform() as platform:
        async with AsyncExitStack() as stack:
            daemon = await stack.enter_async_context(open_daemon(platform, state_dir))
            (mate,) = await stream_cards(platform, state_dir, stack, 1)
            turn_id = next(one["turn_id"] for one in mate.seen if one["t"] == "deliver")
            await mate.send(
                t="tool_event",
                turn_id=turn_id,
                call_id="1",
                name="Bash",
                kind="execute",
                status="success",
                output="all of it",
            )
            await mate.send(
                t="plan",
                turn_id=turn_id,
                entries=[{"content": "look", "status": "in_progress"}],
            )
            await mate.send(t="delta", turn_id=turn_id, text="hm", channel="reasoning")
            await mate.send(t="delta", turn_id=turn_id, text=", and more")
            await platform.wait_cards(1, "so far, and more", "hm")
            await wait_noted(state_dir, "so far, and more", "hm", "look", "all of it")
            await wait_marks(platform, 1)
            await daemon.kill()
        async with open_daemon(platform, state_dir):
            await platform.wait_cards(
                1,
                "🛑 Stopped · ",
                "so far, and more",
                "✅ 💻 **Bash**",
                "all of it",
                "⏳ look",
                "hm",
                within_s=60,
            )
            await wait_marks(platform, 0)


async def test_after_sigkill_text_that_stood_on_no_card_yet_is_there(state_dir: Path) -> None:
    """The answer needs three cards, and the platform opens no second one before the kill."""
    text = "\n\n".join(f"Paragraph {number}. " + "words " * 20 for number in range(500))
    async with open_platform() as platform:
        async with AsyncExitStack() as stack:
            daemon = await stack.enter_async_context(open_daemon(platform, state_dir))
            (mate,) = await stream_cards(platform, state_dir, stack, 1)
            create = {"method": "POST", "template": "/open-apis/cardkit/v1/cards"}
            await platform.post("faults", kind="code", match=create, status=500, times=None)
            turn_id = next(one["turn_id"] for one in mate.seen if one["t"] == "deliver")
            await mate.send(t="delta", turn_id=turn_id, text=text)
            await platform.wait_cards(1, "Continued below")
            await wait_noted(state_dir, "Paragraph 499. ")
            await daemon.kill()
        await platform.lift_faults()
        async with open_daemon(platform, state_dir):
            with trio.fail_after(60):
                while "Interrupted by a restart." not in str(await platform.get("state")):
                    await trio.sleep(0.2)
        state = await platform.get("state")
        assert not any(card["streaming"] for card in state["cards"])
        for number in range(500):
            assert f"Paragraph {number}. " in str(state)


async def wait_marks(platform: Platform, count: int) -> None:
    with trio.fail_after(60):
        while True:
            seq = platform.seq
            messages = (await platform.get("state"))["messages"]
            if sum(len(one["reactions"]) for one in messages) == count:
                return
            await platform.wait_change(seq)


async def test_a_stop_word_is_answered_where_no_card_could_be_shown(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, session(state_dir, "boss", "dispatcher") as boss:
        await platform.post("scopes", missing=["cardkit:card:write"])
        chat = await platform.chat()
        await platform.send(chat, "question")
        deliver = await boss.until("deliver")
        await boss.send(t="delta", turn_id=deliver["turn_id"], text="shown\n\nrest")
        with trio.fail_after(60):
            while "shown" not in str(await platform.messages(chat)):
                await trio.sleep(0.1)
        await platform.send(chat, "stop")
        assert (await boss.until("cancel"))["turn_id"] == deliver["turn_id"]
        await boss.send(t="turn_end", turn_id=deliver["turn_id"], status="aborted")
        with trio.fail_after(60):
            while "Stopped current task." not in str(await platform.messages(chat)):
                await trio.sleep(0.1)
        await platform.send(chat, "stop")
        with trio.fail_after(60):
            while "Nothing is running." not in str(await platform.messages(chat)):
                await trio.sleep(0.1)
        assert str(await platform.messages(chat)).count("Stopped current task.") == 1


async def test_a_second_daemon_of_the_same_state_directory_is_refused(state_dir: Path) -> None:
    async with open_platform() as platform, open_daemon(platform, state_dir) as daemon:
        command = [sys.executable, "-m", "actors.daemon"]
        command += ["--config", str(state_dir.parent / "state.json")]
        command += ["--state-dir", str(state_dir)]
        second = await trio.run_process(
            command, check=False, capture_stderr=True, env=environment()
        )
        assert second.returncode == 3
        assert (
            f"another larkd (pid {daemon.process.pid}) is serving this state directory"
            in second.stderr.decode()
        )


async def test_a_platform_that_hangs_does_not_keep_the_daemon(state_dir: Path) -> None:
    async with open_platform() as platform:
        async with AsyncExitStack() as stack:
            tuning = {"shutdownDeadlineMs": 3_000}
            daemon = await stack.enter_async_context(
                open_daemon(platform, state_dir, tuning=tuning)
            )
            await stream_cards(platform, state_dir, stack, 3)
            await platform.post("faults", kind="hang", times=None)
            watch = Stopwatch()
            daemon.signal(signal.SIGTERM)
            assert await daemon.wait(within_s=60) == 1, (
                "cards were left open: the exit status shows it"
            )
            assert watch.seconds >= 3, "it has tried until then"
        await platform.lift_faults()
        async with open_daemon(platform, state_dir):
            await platform.wait_cards(3, "🛑 Stopped · ", "Interrupted by a restart.")


async def test_a_second_signal_shortens_the_wait(state_dir: Path) -> None:
    async with open_platform() as platform, AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(open_daemon(platform, state_dir))
        await stream_cards(platform, state_dir, stack, 1)
        await platform.post("faults", kind="hang", times=None)
        daemon.signal(signal.SIGTERM)
        await daemon.logged("daemon.stopping")
        daemon.signal(signal.SIGTERM)
        assert LEAVES_WITHIN_MS > 120_000, "what it would wait after the first alone"
        assert await daemon.wait(within_s=120) == 1


async def test_an_answer_that_gets_lost_on_the_way_out_is_no_loss(state_dir: Path) -> None:
    async with open_platform() as platform, AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(open_daemon(platform, state_dir))
        await stream_cards(platform, state_dir, stack, 2)
        template = "/open-apis/cardkit/v1/cards/:card_id"
        match = {"method": "PUT", "template": template}
        await platform.post("faults", match=match, kind="drop", times=2)
        daemon.signal(signal.SIGTERM)
        assert await daemon.wait(within_s=60) == 0
        await platform.wait_cards(2, "🛑 Stopped · ", within_s=60)


async def test_a_cancel_is_answered_once_while_the_card_is_being_refused(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, session(state_dir, "boss", "dispatcher") as boss:
        await platform.post("scopes", missing=["cardkit:card:write"])
        create = {"method": "POST", "template": "/open-apis/cardkit/v1/cards"}
        await platform.post("faults", kind="delay", match=create, seconds=2)
        chat = await platform.chat()
        await platform.send(chat, "question")
        deliver = await boss.until("deliver")
        await boss.send(t="delta", turn_id=deliver["turn_id"], text="shown\n\nrest")
        await boss.barrier()  # what comes after the stop is not shown
        await platform.send(chat, "/cancel")
        await boss.until("cancel")
        await boss.send(t="turn_end", turn_id=deliver["turn_id"], status="aborted")
        with trio.fail_after(60):
            while "rest" not in (shown := str(await platform.messages(chat))) or (
                "Stopped current task." not in shown
            ):
                await trio.sleep(0.1)
        await platform.send(chat, "/cancel")
        with trio.fail_after(60):
            while "Nothing is running." not in str(await platform.messages(chat)):
                await trio.sleep(0.1)
        assert str(await platform.messages(chat)).count("Stopped current task.") == 1
