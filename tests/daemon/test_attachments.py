"""What a message carries and refers to, fetched before a session is given it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.kit.daemon import Platform, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import session

Map = dict[str, Any]
HELD_BACK_S = 50.0
"""Until the faults are lifted; less than a download may take."""


@asynccontextmanager
async def channel_session(state_dir: Path) -> AsyncIterator[tuple[Platform, Map, Any]]:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher", capabilities=[]) as proxy,
    ):
        yield platform, await platform.chat(), proxy


async def upload(platform: Platform, kind: str, data: bytes) -> str:
    answer = await platform.post("upload", kind=kind, base64=base64.b64encode(data).decode())
    key: str = answer["key"]
    return key


async def send(platform: Platform, chat: Map, kind: str, **content: Any) -> Map:
    return await platform.send(chat, "", message_type=kind, content=json.dumps(content))


async def slow_downloads(platform: Platform, seconds: float) -> None:
    template = "/open-apis/im/v1/messages/:message_id/resources/:file_key"
    await platform.post("faults", kind="delay", match={"template": template}, seconds=seconds)


async def test_a_file_is_saved_where_only_the_session_can_read_it(state_dir: Path) -> None:
    async with channel_session(state_dir) as (platform, chat, proxy):
        data = bytes(range(256)) * 4_000
        key = await upload(platform, "file", data)
        await send(platform, chat, "file", file_key=key, file_name="../../etc/report.pdf")
        deliver = await proxy.until("deliver")
        (attachment,) = deliver["attachments"]
        saved = Path(attachment["path"])
        assert saved.read_bytes() == data
        assert saved.is_relative_to(state_dir / "attachments")
        assert saved.name == "1-report.pdf"
        assert saved.stat().st_mode & 0o777 == 0o600
        assert saved.parent.stat().st_mode & 0o777 == 0o700
        assert (attachment["kind"], attachment["size"]) == ("file", len(data))
        assert attachment["note"] is None
        assert deliver["content"] == "[file: report.pdf]"


async def test_what_comes_after_a_slow_picture_waits_for_it_and_other_chats_do_not(
    state_dir: Path,
) -> None:
    async with channel_session(state_dir) as (platform, chat, proxy):
        other = await platform.chat(name="Bob")
        key = await upload(platform, "image", b"png")
        await slow_downloads(platform, HELD_BACK_S)
        await send(platform, chat, "image", image_key=key)
        await platform.send(chat, "look at that")
        await platform.send(chat, "and that")
        await platform.send(other, "hello from elsewhere")
        assert (await proxy.until("deliver"))["content"] == "hello from elsewhere"
        await platform.lift_faults()
        contents = [(await proxy.until("deliver"))["content"] for _ in range(3)]
        assert contents == ["[image]", "look at that", "and that"]


async def test_a_command_does_not_wait_for_a_picture(state_dir: Path) -> None:
    async with channel_session(state_dir) as (platform, chat, proxy):
        async with session(state_dir, "mate", capabilities=[]) as mate:
            key = await upload(platform, "image", b"png")
            await slow_downloads(platform, HELD_BACK_S)
            await send(platform, chat, "image", image_key=key)
            await platform.send(chat, "/use mate")
            await platform.send(chat, "for mate")
            assert (await mate.until("deliver"))["content"] == "for mate"
            await platform.lift_faults()
            deliver = await proxy.until("deliver")
            assert deliver["content"] == "[image]", "sent while the chat was on boss"


async def test_what_can_not_be_had_is_named_in_the_text(state_dir: Path) -> None:
    async with channel_session(state_dir) as (platform, chat, proxy):
        await send(platform, chat, "image", image_key="img_nowhere")
        deliver = await proxy.until("deliver")
        assert deliver["content"] == (
            "[image]\n\n[image img_nowhere could not be downloaded:"
            " the platform refused it (234003)]"
        )
        (attachment,) = deliver["attachments"]
        assert (attachment["path"], attachment["size"]) == (None, None)
        assert attachment["note"] == "the platform refused it (234003)"

        key = await upload(platform, "file", bytes(25 * 1024 * 1024 + 1))
        await send(platform, chat, "file", file_key=key, file_name="huge.bin")
        (attachment,) = (await proxy.until("deliver"))["attachments"]
        assert attachment["note"] == "it is over 25 MiB"
        left = [path for path in (state_dir / "attachments").rglob("*") if path.is_file()]
        assert left == [], "nothing of it is kept"


async def test_a_quoted_message_comes_along_as_a_quote(state_dir: Path) -> None:
    async with channel_session(state_dir) as (platform, chat, proxy):
        first = await platform.send(chat, "line one\nline two")
        await proxy.until("deliver")
        await platform.send(chat, "what is that?", parent_id=first["message_id"])
        deliver = await proxy.until("deliver")
        assert deliver["content"] == "> line one\n> line two\n\nwhat is that?"
        assert deliver["meta"]["parent_id"] == first["message_id"]


async def test_a_quoted_card_of_the_bot_is_its_text(state_dir: Path) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "agent", "dispatcher") as proxy,
    ):
        chat = await platform.chat()
        await platform.send(chat, "how is it?")
        deliver = await proxy.until("deliver")
        await proxy.send(t="ack", event_id=deliver["event_id"], attempt=1)
        turn = deliver["turn_id"]
        await proxy.send(t="tool_event", turn_id=turn, call_id="1", name="ls", status="success")
        await proxy.send(t="turn_end", turn_id=turn, status="complete", text="All **green**.")
        (card,) = await platform.wait_cards(1, "All **green**.", "Done · ")
        await platform.send(chat, "why?", parent_id=card["message_id"])
        assert (await proxy.until("deliver"))["content"] == "> All **green**.\n\nwhy?"


async def test_a_quote_nobody_hands_out_does_not_keep_the_message_back(state_dir: Path) -> None:
    async with channel_session(state_dir) as (platform, chat, proxy):
        first = await platform.send(chat, "one")
        await proxy.until("deliver")
        message = {"method": "GET", "template": "/open-apis/im/v1/messages/:message_id"}
        await platform.post("faults", kind="hang", match=message, times=None)
        await platform.send(chat, "what is that?", parent_id=first["message_id"])
        deliver = await proxy.until("deliver", within_s=60)
        assert deliver["content"] == "what is that?"


async def test_forwarded_messages_come_along(state_dir: Path) -> None:
    async with channel_session(state_dir) as (platform, chat, proxy):
        await send(platform, chat, "merge_forward", content="Merged and Forwarded Message")
        deliver = await proxy.until("deliver")
        assert deliver["content"].startswith("[merged and forwarded messages]")


async def test_prompts_held_at_a_crash_are_taken_up_again(state_dir: Path) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with open_daemon(platform, state_dir) as daemon:
            key = await upload(platform, "image", b"png")
            await slow_downloads(platform, HELD_BACK_S)
            await send(platform, chat, "image", image_key=key)
            text = await platform.send(chat, "and text")
            await platform.wait_handled(text["event_id"])
            await daemon.kill()
        await platform.lift_faults()
        async with (
            open_daemon(platform, state_dir),
            session(state_dir, "boss", "dispatcher", capabilities=[]) as proxy,
        ):
            contents = [(await proxy.until("deliver"))["content"] for _ in range(2)]
            assert contents == ["[image]", "and text"]
