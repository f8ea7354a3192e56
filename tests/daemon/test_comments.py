"""Comments of documents that mention the bot: messages like any other, gated alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trio

from tests.daemon.test_commands import end, take, worker
from tests.kit.daemon import Platform, open_served, wait_refused
from tests.kit.raw_proxy import session

Map = dict[str, Any]


async def thread(platform: Platform, comment: Map, count: int) -> list[str]:
    """Wait until a comment's thread has so many entries; return their texts."""
    with trio.fail_after(60):
        while True:
            entries = await platform.get(f"documents/doxcnSandbox/comments/{comment['comment_id']}")
            if len(entries) >= count:
                return [
                    "".join(one["text_run"]["text"] for one in entry["content"]["elements"])
                    for entry in entries
                ]
            await trio.sleep(0.02)


async def test_a_comment_is_a_turn_whose_answer_is_a_reply_to_it(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, worker(state_dir, "boss", "dispatcher") as boss:
        comment = await platform.post("comment", text="is this right?")
        first = await take(boss)
        assert first["content"] == "is this right?"
        meta = first["meta"]
        assert (meta["kind"], meta["file_token"]) == ("doc_comment", "doxcnSandbox")
        assert meta["chat_id"] == first["chat_id"]
        await end(boss, first, text="Yes, **it is**.")
        assert await thread(platform, comment, 2) == ["is this right?", "Yes, **it is**."]
        assert await platform.cards() == []
        await platform.post("comment", text="sure?", comment_id=comment["comment_id"])
        second = await take(boss)
        assert second["content"] == "> is this right?\n\nsure?"
        assert second["chat_id"] == first["chat_id"]
        await end(boss, second, "error", error="no idea")
        assert "no idea" in (await thread(platform, comment, 4))[-1]


async def test_who_is_not_admitted_or_mentions_nobody_is_not_delivered(state_dir: Path) -> None:
    async with (
        open_served(state_dir, dmPolicy="pairing", allowFrom=["ou_friend"]) as platform,
        worker(state_dir, "boss", "dispatcher") as boss,
    ):
        stranger = await platform.post("comment", text="let me in")
        await platform.post("comment", text="just a note", sender="ou_friend", mention_bot=False)
        await platform.post("comment", text="hello", sender="ou_friend")
        assert (await take(boss))["content"] == "hello"
        delivered = [one["content"] for one in boss.seen if one["t"] == "deliver"]
        assert delivered == ["hello"]
        assert await thread(platform, stranger, 1) == ["let me in"], (
            "nothing is written to strangers"
        )
        await wait_refused(boss, "default", {"sender not on allowlist": 1})


async def test_a_channel_session_answers_a_comment_by_its_tool(state_dir: Path) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
    ):
        comment = await platform.post("comment", text="please look")
        deliver = await boss.until("deliver")
        await boss.send(t="ack", event_id=deliver["event_id"], attempt=1)
        chat_id, message_id = deliver["chat_id"], deliver["meta"]["message_id"]
        answer = await boss.tool("reply", 1, chat_id=chat_id, message_id=message_id, text="I did.")
        assert answer["ok"], answer
        assert await thread(platform, comment, 2) == ["please look", "I did."]
        inbox = await boss.tool("inbox", 2)
        assert inbox["result"]["messages"] == []
        refused = await boss.tool("react", 3, message_id=message_id, emoji="OK")
        assert not refused["ok"]
        assert "a comment can't be reacted to" in json.dumps(refused)


async def test_a_comment_nobody_can_read_still_arrives(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, worker(state_dir, "boss", "dispatcher") as boss:
        template = "/open-apis/drive/v1/files/:file_token/comments/:comment_id/replies"
        await platform.post(
            "faults",
            kind="code",
            code=1069303,
            match={"template": template, "method": "GET"},
            times=None,
        )
        await platform.post("comment", text="secret")
        assert (await take(boss))["content"] == "[comment that could not be read]"
