"""Several messages, one prompt: as the person who sends a picture and a question sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from tests.daemon.test_attachments import HELD_BACK_S, send, slow_downloads, upload
from tests.kit.daemon import Daemon, Platform, open_daemon, open_platform
from tests.kit.raw_proxy import RawProxy, session

Map = dict[str, Any]


async def picture_and_text(
    platform: Platform, daemon: Daemon, chat: Map, text: str, key: str
) -> list[str]:
    """Send both at once, and wait until the daemon has them; return their ids."""
    with daemon.held():
        first = await send(platform, chat, "image", image_key=key)
        second = await platform.send(chat, text)
    await platform.wait_handled(second["event_id"])
    return [first["message_id"], second["message_id"]]


async def end(proxy: RawProxy, deliver: Map, text: str) -> None:
    await proxy.send(t="ack", event_id=deliver["event_id"], attempt=deliver["attempt"])
    await proxy.send(t="turn_end", turn_id=deliver["turn_id"], status="complete", text=text)


async def test_a_picture_and_the_text_after_it_are_one_turn(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir) as daemon,
        session(state_dir, "agent", "dispatcher") as proxy,
    ):
        chat = await platform.chat()
        key = await upload(platform, "image", b"png")
        ids = await picture_and_text(platform, daemon, chat, "what is that?", key)
        deliver = await proxy.until("deliver")
        assert deliver["content"] == "[image]\n\nwhat is that?"
        assert deliver["meta"]["message_id"] == ids[0]
        assert deliver["meta"]["message_ids"] == ",".join(ids)
        assert [one["kind"] for one in deliver["attachments"]] == ["image"]
        # While it runs: two pictures, of which the first is taken back, and a stop word.
        with daemon.held():
            recalled = await send(platform, chat, "image", image_key=key)
            left = [
                (await send(platform, chat, "image", image_key=key))["message_id"],
                (await platform.send(chat, "and this?"))["message_id"],
            ]
            taken_back = await platform.post("recall", message_id=recalled["message_id"])
        await platform.wait_handled(taken_back["event_id"])
        await end(proxy, deliver, "a pixel")
        await platform.wait_cards(1, "a pixel", "Done · ")
        deliver = await proxy.until("deliver")
        assert deliver["meta"]["message_ids"] == ",".join(left)
        assert deliver["content"] == "[image]\n\nand this?"
        await platform.post("recall", message_id=left[1])
        assert (await proxy.until("cancel"))["reason"] == "recalled"
        await proxy.send(t="turn_end", turn_id=deliver["turn_id"], status="aborted")
        await platform.wait_cards(1, "🛑 Stopped · ")
        with trio.fail_after(60):
            while True:
                queue = (await proxy.tool("feishu_channel_status"))["result"]["queue"]
                if (queue["pending"], queue["in_flight"]) == (0, 0):
                    break
                await trio.sleep(0.02)


async def test_a_kill_at_any_point_leaves_one_prompt(state_dir: Path) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with open_daemon(platform, state_dir) as daemon:
            # While the picture is fetched: nothing of it is ready.
            key = await upload(platform, "image", b"png")
            await slow_downloads(platform, HELD_BACK_S)
            ids = await picture_and_text(platform, daemon, chat, "what is that?", key)
            await daemon.kill()
        await platform.lift_faults()
        async with (
            open_daemon(platform, state_dir) as daemon,
            session(state_dir, "agent", "dispatcher") as proxy,
        ):
            # It is offered, and not acked.
            deliver = await proxy.until("deliver")
            assert deliver["meta"]["message_ids"] == ",".join(ids)
            await daemon.kill()
        async with (
            open_daemon(platform, state_dir),
            session(state_dir, "agent", "dispatcher") as proxy,
        ):
            again = await proxy.until("deliver")
            assert again["attempt"] == 2
            assert {**again, "turn_id": "", "attempt": 1, "lease_epoch": 0} == {
                **deliver,
                "turn_id": "",
                "lease_epoch": 0,
            }
            await end(proxy, again, "a pixel")
            await platform.wait_cards(1, "a pixel", "Done · ")
            await platform.send(chat, "text")
            assert (await proxy.until("deliver"))["content"] == "text"
