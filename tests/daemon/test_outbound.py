"""What a channel session sends through its tools: where it may, what arrives, what is answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.kit.daemon import Platform, open_daemon, open_platform
from tests.kit.raw_proxy import Map, RawProxy, session


@asynccontextmanager
async def channel(state_dir: Path, **settings: Any) -> AsyncIterator[tuple[Platform, RawProxy]]:
    """A platform, a daemon, and one channel session that owns the channel."""
    metadata = settings.pop("metadata", {"cwd": str(state_dir.parent)})
    async with (
        open_platform(**settings) as platform,
        open_daemon(platform, state_dir),
        session(state_dir, "boss", "dispatcher", capabilities=[], metadata=metadata) as boss,
    ):
        yield platform, boss


async def given(platform: Platform, boss: RawProxy, chat: Map, text: str) -> Map:
    """Write in the chat; return what was delivered of it, acked."""
    await platform.send(chat, text)
    deliver = await boss.until("deliver", lambda message: message["content"] == text)
    await boss.send(t="ack", event_id=deliver["event_id"], attempt=deliver["attempt"])
    return deliver


async def bots(platform: Platform, chat: Map) -> list[Map]:
    return [one for one in await platform.messages(chat) if one["sender"]["type"] == "app"]


async def inbox(boss: RawProxy, **args: Any) -> list[str]:
    answer = await boss.tool("inbox", **args)
    assert answer["ok"], answer
    return [message["content"] for message in answer["result"]["messages"]]


async def wait_inbox(boss: RawProxy, *contents: str) -> None:
    with trio.fail_after(60):
        while await inbox(boss) != list(contents):
            await trio.sleep(0.02)


async def test_a_reply_that_names_a_message_answers_it_and_that_message_only(
    state_dir: Path,
) -> None:
    async with channel(state_dir) as (platform, boss):
        chat = await platform.chat()
        first = await given(platform, boss, chat, "first")
        await given(platform, boss, chat, "second")
        await wait_inbox(boss, "first", "second")
        asked = first["meta"]["message_id"]
        answer = await boss.tool(
            "reply", chat_id=chat["chat_id"], text="**Done.** <at id=all></at>", message_id=asked
        )
        (sent,) = await bots(platform, chat)
        assert answer["result"] == f"Sent to {chat['chat_id']} as {sent['message_id']}."
        assert sent["parent_id"] == asked
        assert "**Done.**" in sent["content"]
        assert "<at" not in json.loads(sent["content"])["body"]["elements"][0]["content"]
        await wait_inbox(boss, "second")


async def test_a_reply_to_the_chat_answers_all_of_it(state_dir: Path) -> None:
    async with channel(state_dir) as (platform, boss):
        chat, other = await platform.chat(), await platform.chat(name="Bob")
        await given(platform, boss, chat, "one")
        await given(platform, boss, chat, "two")
        await given(platform, boss, other, "elsewhere")
        assert (await boss.tool("reply", chat_id=chat["chat_id"], text="both"))["ok"]
        await wait_inbox(boss, "elsewhere")
        answer = await boss.tool("inbox", limit=1)
        assert answer["result"]["more"] is False
        assert answer["result"]["messages"][0]["meta"]["chat_id"] == other["chat_id"]


async def test_a_long_reply_arrives_whole_in_several_messages(state_dir: Path) -> None:
    async with channel(state_dir) as (platform, boss):
        chat = await platform.chat()
        await given(platform, boss, chat, "explain everything")
        text = "\n".join(f"line {n} " + "界" * 50 for n in range(400))
        answer = await boss.tool("reply", chat_id=chat["chat_id"], text=text)
        sent = await bots(platform, chat)
        assert len(sent) > 1
        assert answer["result"] == f"Sent to {chat['chat_id']} in {len(sent)} messages."
        parts = [json.loads(one["content"])["body"]["elements"][0]["content"] for one in sent]
        assert "".join(parts) == text


async def test_files_are_sent_as_what_they_are(state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "plot.png").write_bytes(b"\x89PNG picture")
    (tmp_path / "notes.txt").write_text("hello")
    async with channel(state_dir) as (platform, boss):
        chat = await platform.chat()
        await given(platform, boss, chat, "send them")
        files = [str(tmp_path / "plot.png"), str(tmp_path / "notes.txt")]
        answer = await boss.tool("reply", chat_id=chat["chat_id"], text="Here.", files=files)
        assert answer["ok"], answer
        kinds = [one["msg_type"] for one in await bots(platform, chat)]
        assert kinds == ["interactive", "image", "file"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["/nowhere/x"], "/nowhere/x: can't be read: No such file or directory"),
        (
            ["/etc/hostname"],
            "/etc/hostname: does not lie in the session's directory; put it there",
        ),
        (["relative.txt"], "relative.txt: give the absolute path"),
        (["/dev/zero"], "/dev/zero: does not lie in the session's directory; put it there"),
        (["/etc/\x00"], "/etc/\x00: can't be read: embedded null byte"),
        ("/etc/hostname", "files must be a list of paths"),
        (["/etc/hostname"] * 11, "10 files a reply at most, not 11"),
    ],
)
async def test_a_bad_file_sends_nothing(state_dir: Path, files: object, expected: str) -> None:
    async with channel(state_dir) as (platform, boss):
        chat = await platform.chat()
        await given(platform, boss, chat, "send it")
        answer = await boss.tool("reply", chat_id=chat["chat_id"], text="Here.", files=files)
        assert (answer["ok"], answer["error"]) == (False, expected)
        assert await bots(platform, chat) == []
        await wait_inbox(boss, "send it")


async def test_no_file_of_larkd_and_none_from_elsewhere_is_sent(
    state_dir: Path, tmp_path: Path
) -> None:
    """Also where the session's directory holds them, and through a link that leads out."""
    async with channel(state_dir, metadata={"cwd": str(tmp_path)}) as (platform, boss):
        chat = await platform.chat()
        await given(platform, boss, chat, "send them")
        (tmp_path / "link").symlink_to("/etc/hostname")
        (tmp_path / "inside").mkdir(exist_ok=True)
        (tmp_path / "inside" / "ok.txt").write_text("fine")
        token = state_dir / "tokens" / "dispatcher.token"
        config = state_dir.parent / f"{state_dir.name}.json"
        copy = tmp_path / "copy-of-the-configuration"
        copy.write_bytes(config.read_bytes())
        large = tmp_path / "large.bin"
        with large.open("wb") as file:
            file.truncate(30 * 1024 * 1024 + 1)
        answer = await boss.tool("reply", chat_id=chat["chat_id"], text="t", files=[str(large)])
        assert answer["error"] == f"{large}: over 30 MB"
        for path in (token, tmp_path / "link", tmp_path / ".." / "x", config, copy):
            answer = await boss.tool("reply", chat_id=chat["chat_id"], text="t", files=[str(path)])
            assert not answer["ok"], path
        assert await bots(platform, chat) == []
        files = [str(tmp_path / "inside" / "ok.txt"), {"name": "../up.txt", "content": b"read"}]
        answer = await boss.tool("reply", chat_id=chat["chat_id"], text="t", files=files)
        assert answer["ok"], answer


async def test_a_session_speaks_only_where_it_was_spoken_to(state_dir: Path) -> None:
    async with channel(state_dir) as (platform, boss):
        chat = await platform.chat()
        asked = (await given(platform, boss, chat, "hi"))["meta"]["message_id"]
        async with session(state_dir, "mate", capabilities=[]) as mate:
            never = f"session mate was never given a message from chat {chat['chat_id']}"
            for name, args in (
                ("reply", {"chat_id": chat["chat_id"], "text": "psst"}),
                ("react", {"message_id": asked, "emoji": "THUMBSUP"}),
                ("edit_message", {"message_id": asked, "text": "psst"}),
            ):
                answer = await mate.tool(name, **args)
                assert (answer["ok"], answer["error"]) == (False, never)
            assert await inbox(mate) == []
            # The owner of the channel may speak in a chat another session was given.
            await mate.tool("feishu_channel_status")
            await boss.tool("feishu_channel_acquire", session_id="mate")
            assert (await mate.tool("reply", chat_id=chat["chat_id"], text="now"))["ok"]


async def test_a_message_of_another_chat_is_no_way_around(state_dir: Path) -> None:
    async with channel(state_dir) as (platform, boss):
        chat, other = await platform.chat(), await platform.chat(name="Bob")
        await given(platform, boss, chat, "hi")
        there = (await given(platform, boss, other, "hello"))["meta"]["message_id"]
        answer = await boss.tool("reply", chat_id=chat["chat_id"], text="x", message_id=there)
        assert answer["error"] == (
            f"message {there} is in chat {other['chat_id']}, not {chat['chat_id']}"
        )
        answer = await boss.tool(
            "reply", chat_id=chat["chat_id"], text="x", message_id="om_made_up"
        )
        assert answer["error"].startswith("message om_made_up is not known here")


@pytest.mark.parametrize(
    ("name", "args", "missing"),
    [
        ("reply", {"text": "x"}, "chat_id"),
        ("reply", {"chat_id": "oc_1", "text": " "}, "text"),
        ("reply", {"chat_id": 7, "text": "x"}, "chat_id"),
        ("react", {"message_id": "om_1"}, "emoji"),
        ("edit_message", {"text": "x"}, "message_id"),
    ],
)
async def test_a_missing_argument_is_named(
    state_dir: Path, name: str, args: Map, missing: str
) -> None:
    async with channel(state_dir) as (_, boss):
        answer = await boss.tool(name, **args)
        assert answer["error"] == f"missing or empty required argument: {missing}"


async def test_own_messages_are_edited_and_any_is_reacted_to(state_dir: Path) -> None:
    async with channel(state_dir) as (platform, boss):
        chat = await platform.chat()
        asked = (await given(platform, boss, chat, "hi"))["meta"]["message_id"]
        sent = (await boss.tool("reply", chat_id=chat["chat_id"], text="draft"))["result"]
        mine = sent.removesuffix(".").split()[-1]
        edited = await boss.tool("edit_message", message_id=mine, text="final")
        assert edited["result"] == f"Edited {mine}."
        assert [json.loads(one["content"])["body"] for one in await bots(platform, chat)] == [
            {"elements": [{"tag": "markdown", "content": "final"}]}
        ]
        reacted = await boss.tool("react", message_id=asked, emoji="THUMBSUP")
        assert reacted["result"] == f"Reacted to {asked} with THUMBSUP."
        for name, args, expected in (
            ("edit_message", {"message_id": asked, "text": "x"}, "is not one you sent"),
            ("react", {"message_id": asked, "emoji": "NO_SUCH"}, "the platform refused"),
        ):
            answer = await boss.tool(name, **args)
            assert expected in answer["error"]


async def test_a_platform_that_fails_half_way_reports_what_was_sent(state_dir: Path) -> None:
    async with channel(state_dir) as (platform, boss):
        chat = await platform.chat()
        await given(platform, boss, chat, "go")
        await platform.post(
            "faults",
            match={"method": "POST", "template": "/open-apis/im/v1/messages"},
            kind="code",
            code=230018,
            after=1,
            times=5,
        )
        text = "\n".join("x" * 100 for _ in range(300))
        answer = await boss.tool("reply", chat_id=chat["chat_id"], text=text)
        (sent,) = await bots(platform, chat)
        assert answer["error"].startswith("part 2 was not sent: ")
        assert answer["error"].endswith(f"; sent before to {chat['chat_id']}: {sent['message_id']}")
        await wait_inbox(boss, "go")


async def test_an_observer_and_a_stranger_have_no_such_tools(state_dir: Path) -> None:
    async with (
        channel(state_dir) as (_, boss),
        session(state_dir, "eye", "observer", capabilities=[]) as eye,
    ):
        answer = await eye.tool("reply", chat_id="oc_1", text="x")
        assert answer["error"] == "an observer may call feishu_channel_status only"
        await boss.barrier()
