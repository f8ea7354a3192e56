"""Several messages, one prompt: as the person who sends a picture and a question sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.daemon.test_attachments import send, slow_downloads, upload
from tests.kit.daemon import Platform, open_daemon, open_platform
from tests.kit.raw_proxy import RawProxy, session
from tests.kit.starvation import Stopwatch

Map = dict[str, Any]


async def picture_and_text(platform: Platform, chat: Map, text: str) -> list[str]:
    """Send both, acked; return their ids."""
    key = await upload(platform, "image", b"png")
    first = await send(platform, chat, "image", image_key=key)
    second = await platform.send(chat, text, wait_ack=True)
    return [first["message_id"], second["message_id"]]


async def end(proxy: RawProxy, deliver: Map, text: str) -> None:
    await proxy.send(t="ack", event_id=deliver["event_id"], attempt=deliver["attempt"])
    await proxy.send(t="turn_end", turn_id=deliver["turn_id"], status="complete", text=text)


async def test_a_picture_and_the_text_after_it_are_one_turn(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        session(state_dir, "agent", "dispatcher") as proxy,
    ):
        chat = await platform.chat()
        ids = await picture_and_text(platform, chat, "what is that?")
        watch = Stopwatch()
        deliver = await proxy.until("deliver")
        assert watch.seconds > 1.0
        assert watch.within(5.0)
        assert deliver["content"] == "[image]\n\nwhat is that?"
        assert deliver["meta"]["message_id"] == ids[0]
        assert deliver["meta"]["message_ids"] == ",".join(ids)
        assert [one["kind"] for one in deliver["attachments"]] == ["image"]
        # While it runs: two pictures, of which the first is taken back, and a stop word.
        key = await upload(platform, "image", b"png")
        recalled = await send(platform, chat, "image", image_key=key)
        left = await picture_and_text(platform, chat, "and this?")
        await platform.post("recall", message_id=recalled["message_id"])
        await end(proxy, deliver, "a pixel")
        await platform.wait_cards(1, "a pixel", "Done · ")
        deliver = await proxy.until("deliver")
        assert deliver["meta"]["message_ids"] == ",".join(left)
        assert deliver["content"] == "[image]\n\nand this?"
        await platform.post("recall", message_id=left[1])
        assert (await proxy.until("cancel"))["reason"] == "recalled"
        await proxy.send(t="turn_end", turn_id=deliver["turn_id"], status="aborted")
        await platform.wait_cards(1, "🛑 Stopped · ")
        status = (await proxy.tool("feishu_channel_status"))["result"]
        assert (status["queue"]["pending"], status["queue"]["in_flight"]) == (0, 0)


async def test_a_kill_at_any_point_leaves_one_prompt(state_dir: Path) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with open_daemon(platform, state_dir) as daemon:
            # While the picture is fetched: nothing of it is ready.
            await slow_downloads(platform, 5)
            ids = await picture_and_text(platform, chat, "what is that?")
            await daemon.kill()
        await platform.http.delete(f"{platform.base_url}/sandbox/faults")
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
