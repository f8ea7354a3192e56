"""Nothing is lost, nothing is doubled, and only the holder receives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from tests.kit.daemon import Platform, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import RawProxy, session


async def pending(proxy: RawProxy) -> int:
    status = (await proxy.tool("feishu_channel_status", 99))["result"]
    return int(status["queue"]["pending"])


async def wait_pending(proxy: RawProxy, count: int) -> None:
    with trio.fail_after(60):
        while await pending(proxy) != count:
            await trio.sleep(0.02)


async def wait_acked(platform: Platform, event_id: str, pushes: int) -> list[dict[str, Any]]:
    """Return the pushes of an event once each of them was acked with 200."""
    with trio.fail_after(60):
        while True:
            for event in await platform.get("events"):
                if event["event_id"] == event_id:
                    done = [push for push in event["pushes"] if push["ack"] == 200]
                    if len(done) >= pushes:
                        return done
            await trio.sleep(0.02)


async def test_a_message_with_no_session_waits_for_the_first_that_may_receive_it(
    state_dir: Path,
) -> None:
    async with open_served(state_dir) as platform:
        sent = await platform.send(await platform.chat(), "anybody?")
        await wait_acked(platform, sent["event_id"], 1)
        async with session(state_dir, "mate") as mate:
            await wait_pending(mate, 1)
            async with session(state_dir, "boss", "dispatcher") as boss:
                deliver = await boss.until("deliver")
                assert deliver["content"] == "anybody?"
            await mate.barrier()
            assert all(message["t"] != "deliver" for message in mate.seen)


async def test_the_same_event_pushed_five_times_is_delivered_once(state_dir: Path) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
    ):
        chat = await platform.chat()
        sent = await platform.send(chat, "once")
        await boss.until("deliver")
        await platform.post("push", repeat_event_id=sent["event_id"], times=4)
        await wait_acked(platform, sent["event_id"], 5)
        await platform.send(chat, "a later one")
        later = await boss.until("deliver")
        assert later["content"] == "a later one"


async def test_an_unacked_row_comes_again_marked_and_a_late_ack_is_ignored(
    state_dir: Path,
) -> None:
    async with open_served(state_dir) as platform:
        async with session(state_dir, "boss", "dispatcher", capabilities=[]) as boss:
            await platform.send(await platform.chat(), "take it")
            first = await boss.until("deliver")
            assert first["attempt"] == 1
        async with session(state_dir, "boss", "dispatcher", capabilities=[]) as boss:
            second = await boss.until("deliver")
            assert (second["event_id"], second["attempt"]) == (first["event_id"], 2)
            await boss.send(t="ack", event_id=first["event_id"], attempt=1)
            status = (await boss.tool("feishu_channel_status"))["result"]
            assert status["queue"]["in_flight"] == 1
            await boss.send(t="ack", event_id=first["event_id"], attempt=2)
            await boss.barrier()
            status = (await boss.tool("feishu_channel_status", 2))["result"]
            assert status["queue"]["in_flight"] == 0


async def test_an_unacked_row_follows_a_handoff(state_dir: Path) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
        session(state_dir, "mate", capabilities=[]) as mate,
    ):
        await platform.send(await platform.chat(), "whose?")
        first = await boss.until("deliver")
        assert (await boss.tool("feishu_channel_acquire", session_id="mate"))["ok"]
        second = await mate.until("deliver")
        assert (second["event_id"], second["attempt"]) == (first["event_id"], 2)
        assert second["lease_epoch"] == first["lease_epoch"] + 1
        await boss.send(t="ack", event_id=first["event_id"], attempt=1)
        await boss.barrier()
        status = (await boss.tool("feishu_channel_status", 2))["result"]
        assert status["queue"]["in_flight"] == 1


async def test_the_owner_offline_keeps_its_rows_and_gets_them_once_in_order(
    state_dir: Path,
) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
    ):
        async with session(state_dir, "mate", capabilities=[]):
            assert (await boss.tool("feishu_channel_acquire", session_id="mate"))["ok"]
        chat = await platform.chat()
        for text in ("one", "two", "three"):
            await platform.send(chat, text)
        await wait_pending(boss, 3)
        status = (await boss.tool("feishu_channel_status"))["result"]
        assert status["effective_target_session_id"] is None
        assert status["owner_session_id"] == "mate"
        async with session(state_dir, "mate", capabilities=[]) as mate:
            for text in ("one", "two", "three"):
                deliver = await mate.until("deliver")
                assert (deliver["content"], deliver["attempt"]) == (text, 1)
                await mate.send(t="ack", event_id=deliver["event_id"], attempt=1)
        assert all(message["t"] != "deliver" for message in boss.seen)


async def test_a_crash_keeps_lease_and_rows(state_dir: Path) -> None:
    async with open_platform() as platform:
        async with open_daemon(platform, state_dir) as daemon:
            async with (
                session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
                session(state_dir, "mate", capabilities=[]) as mate,
            ):
                await boss.tool("feishu_channel_acquire", session_id="mate")
                chat = await platform.chat()
                await platform.send(chat, "delivered")
                await platform.send(chat, "offered")
                delivered = await mate.until("deliver")
                await mate.send(t="ack", event_id=delivered["event_id"], attempt=1)
                await mate.until("deliver")
                await mate.barrier()
                status = (await boss.tool("feishu_channel_status"))["result"]
                assert status["queue"]["in_flight"] == 1
                await daemon.kill()
        async with (
            open_daemon(platform, state_dir),
            session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
        ):
            status = (await boss.tool("feishu_channel_status"))["result"]
            assert status["owner_session_id"] == "mate"
            assert status["lease_epoch"] == 2
            assert status["daemon"]["generation"] == 2
            async with session(state_dir, "mate", capabilities=[]) as mate:
                again = await mate.until("deliver")
                assert (again["content"], again["attempt"]) == ("offered", 2)
                await mate.send(t="ack", event_id=again["event_id"], attempt=2)
                await mate.barrier()
                assert sum(message["t"] == "deliver" for message in mate.seen) == 1
