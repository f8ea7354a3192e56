"""The page of lanes, read as a stranger does: a daemon on the sandbox, proxies of the wire alone.

What a sentence promises over several features at once is here; each feature's own tests are
beside this file.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.daemon.test_attachments import upload
from tests.daemon.test_commands import Chat, end, handled, take, wait_idle, worker
from tests.daemon.test_operator import output_of
from tests.kit.daemon import Daemon, Platform, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import RawProxy, session

Map = dict[str, Any]


class Team(Chat):
    """A group in which two may write; who sends a message mentions the bot."""

    def __init__(self, platform: Platform, daemon: Daemon, chat: Map, bob: str) -> None:
        super().__init__(platform, chat)
        self.daemon = daemon
        self.bob = bob

    async def mention(self, text: str, **more: Any) -> Map:
        return await self.send(text, mention_bot=True, **more)

    async def shows(self, key: str, **more: Any) -> Map:
        """Send a picture, which carries no mention."""
        content = json.dumps({"image_key": key})
        return await self.send("", message_type="image", content=content, **more)


@asynccontextmanager
async def open_team(
    state_dir: Path, **options: Any
) -> AsyncIterator[tuple[Platform, Team, RawProxy]]:
    async with open_platform() as platform:
        group = await platform.chat("group", "Team")
        bob = (await platform.chat(name="Bob"))["members"][0]
        given: Map = {"groupReplyMode": "streaming", "requireMention": False, **options}
        async with (
            open_daemon(platform, state_dir, **given) as daemon,
            worker(state_dir, "boss", "dispatcher") as boss,
        ):
            yield platform, Team(platform, daemon, group, bob), boss


def delivered(proxy: RawProxy) -> list[str]:
    return [one["content"] for one in proxy.seen if one["t"] == "deliver"]


# ── several messages at once ────────────────────────────────────────────────


async def test_other_people_queue_after_a_batch_which_goes_on(state_dir: Path) -> None:
    async with open_team(state_dir) as (platform, team, boss):
        key = await upload(platform, "image", b"png")
        with team.daemon.held():
            first = await team.shows(key)
            bobs = await team.mention("what I wanted to add", sender=team.bob)
            second = await team.mention("look at that")
        batch = await take(boss)
        assert batch["content"].endswith("look at that")
        assert batch["meta"]["message_id"] == first["message_id"]
        assert batch["meta"]["message_ids"] == f"{first['message_id']},{second['message_id']}"
        await end(boss, batch)
        following = await take(boss)
        assert following["content"].endswith("what I wanted to add")
        assert following["meta"]["message_id"] == bobs["message_id"]
        assert following["meta"]["sender_id"] == team.bob
        await end(boss, following)


async def test_the_messages_of_a_batch_share_its_state(state_dir: Path) -> None:
    async with open_team(state_dir) as (platform, team, boss):
        key = await upload(platform, "image", b"png")
        with team.daemon.held():
            picture = await team.shows(key)
            words = await team.mention("look at that")
        batch = await take(boss)
        await handled(boss)
        for one in (picture, words):
            assert (
                (await team.ask("/why", parent_id=one["message_id"]))
                .splitlines()[-1]
                .endswith("seen by boss; not answered yet")
            )
        await end(boss, batch, text="seen")
        await platform.wait_cards(1, "seen", "Done · ")
        for one in (picture, words):
            await wait_why(team, one["message_id"], "answered by boss")


async def wait_why(chat: Chat, message_id: str, last: str) -> None:
    """Wait until the last step that is known of a message ends so."""
    why = ""
    with trio.move_on_after(60):
        while not (why := await chat.ask("/why", parent_id=message_id)).endswith(last):
            await trio.sleep(0.1)
    assert why.endswith(last), why


# ── who may stop what ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("language", "refused", "nothing"),
    [
        (
            "en",
            "Only who started it, or an admin, can stop this.",
            "Nothing is running.",
        ),
        ("zh", "只有发起者或管理员可以停止。", "当前没有正在执行的任务。"),
    ],
)
async def test_a_quoted_card_is_stopped_by_who_may_and_while_it_runs(
    state_dir: Path, language: str, refused: str, nothing: str
) -> None:
    async with open_team(state_dir, language=language) as (platform, team, boss):
        await team.mention("work")
        turn = await take(boss)
        await boss.send(t="delta", turn_id=turn["turn_id"], text="going")
        await platform.wait_cards(1, "going")
        (card,) = [one for one in await platform.messages(team.chat) if one["card_id"]]
        quoted = {"parent_id": card["message_id"]}
        for word in ("停止！", "/stop", "please stop..."):
            assert await team.ask(word, sender=team.bob, **quoted) == refused
        await team.mention("stop", **quoted)
        assert (await boss.until("cancel"))["reason"] == "user"
        await platform.wait_cards(1, "🛑 Stopped · ")
        await end(boss, turn, "aborted")
        assert await team.ask("stop", **quoted) == nothing
        assert await team.ask("/cancel", **quoted) == nothing
        # Its card showed Stopped: the stop word got no message of its own.
        assert len(await team.texts()) == 5
        assert delivered(boss) == [turn["content"]], "nothing was sent to the agent"


async def test_where_no_card_shows_it_a_stop_word_is_answered_once(state_dir: Path) -> None:
    async with open_team(state_dir, groupReplyMode="static", language="zh") as (_, team, boss):
        await team.mention("work")
        turn = await take(boss)
        assert await team.ask("停一下。") == "已停止当前任务。"
        await boss.until("cancel")
        await end(boss, turn, "aborted")
        await team.mention("more")
        await end(boss, await take(boss), text="fine")
        with trio.fail_after(60):
            while not any(
                "fine" in one["content"] for one in await team.platform.messages(team.chat)
            ):
                await trio.sleep(0.02)
        assert (await team.texts()).count("已停止当前任务。") == 1


async def test_a_stop_word_right_after_a_message_stops_it(state_dir: Path) -> None:
    async with open_team(state_dir, language="zh") as (platform, team, boss):
        for number in range(1, 4):
            await team.mention(f"work {number}")
            await team.mention("停！")
            turn = await take(boss)
            assert (await boss.until("cancel"))["turn_id"] == turn["turn_id"]
            await end(boss, turn, "aborted")
            await platform.wait_cards(number, "🛑 已停止 · ")
            await wait_free(team.daemon)  # or the next stop word would mean this turn
        assert await team.texts() == []


async def wait_free(daemon: Daemon) -> None:
    """Wait until no session has a turn: its card may show the end before its proxy sends it."""
    with trio.fail_after(60):
        while True:
            status = json.loads(await output_of(daemon.state_dir, "status", "--json"))
            if not any(one["turn_since"] for one in status["sessions"]):
                return


async def test_a_turn_nobody_asked_for_is_work_of_its_session(state_dir: Path) -> None:
    async with open_team(state_dir) as (platform, team, boss), worker(state_dir, "api"):
        await team.mention("hello")
        await end(boss, await take(boss))
        await boss.send(t="turn_open", turn_id="own-1")
        await boss.send(t="delta", turn_id="own-1", text="going on")
        await platform.wait_cards(1, "going on")
        assert await team.ask("/use boss") == (
            "Switched to boss (previous: boss)\n⏳ boss is still running…"
        )
        assert await team.ask("/use api") == "Switched to api (previous: boss)"
        boss_line = "- ● boss (claude @ /w/boss)"
        assert (await team.ask("/sessions")).splitlines()[1] == boss_line
        await boss.send(t="turn_end", turn_id="own-1", status="complete")
        assert await team.next_text() == "✅ boss done"
        assert (await team.ask("/sessions")).splitlines()[1] == boss_line
        assert await team.ask("/use -") == "Switched to boss (previous: api)"
        assert "●" not in await team.ask("/sessions")


# ── how much is shown ───────────────────────────────────────────────────────


async def test_stream_shows_text_without_the_tool_panel(state_dir: Path) -> None:
    async with open_team(state_dir) as (platform, team, boss):
        for mode, panels in (("stream", 0), ("verbose", 1)):
            assert await team.ask(f"/replymode {mode}") == f"Reply mode set to: {mode}"
            await team.mention(f"work in {mode}")
            turn = await take(boss)
            turn_id = turn["turn_id"]
            step = {"call_id": "1", "name": "look", "kind": "read", "status": "success"}
            await boss.send(t="tool_event", turn_id=turn_id, **step)
            await boss.send(t="delta", turn_id=turn_id, text=f"text of {mode}")
            (card,) = await platform.wait_cards(1, f"text of {mode}")
            assert json.dumps(card["card"]).count("Tool calls (1)") <= panels * 9
            await end(boss, turn)
            (card,) = await platform.wait_cards(1, f"text of {mode}", "Done · ")
            assert ("Tool calls (1)" in json.dumps(card["card"])) is bool(panels)


# ── nobody is there, and too many are ───────────────────────────────────────


@pytest.mark.parametrize(
    ("language", "kept", "full", "dropped"),
    [
        (
            "en",
            "No session is connected. Your message is kept and will be delivered.",
            "Session boss already has 20 messages waiting.",
            "Dropped 20 from the queue.",
        ),
        (
            "zh",
            "当前没有已连接的会话，消息已保留，连接后会送达。",
            "会话 boss 已有 20 条消息在等待。",
            "已移出 20 条。",
        ),
    ],
)
async def test_what_is_kept_is_noted_once_and_the_twenty_first_is_answered(
    state_dir: Path, language: str, kept: str, full: str, dropped: str
) -> None:
    async with open_served(state_dir, language=language) as platform:
        chat = Chat(platform, await platform.chat())
        assert await chat.ask("one") == kept
        await chat.send("two")
        async with session(state_dir, "s-boss", "dispatcher", metadata={"alias": "Boss"}) as boss:
            first = await take(boss)
            assert first["content"] == "one"
            await end(boss, first)
            turn = await take(boss)
            assert turn["content"] == "two"
            for number in range(20):
                await chat.send(f"prompt {number}")
            over = await chat.send("one too many")
            assert await chat.next_text() == full
            await wait_answered_by_notice(chat, over["message_id"])
            assert await chat.ask("/queue clear") == dropped
            assert await chat.ask("/status") != ""
            await end(boss, turn)
            await chat.send("after all that")
            assert (await take(boss))["content"] == "after all that"
        assert (await chat.texts()).count(kept) == 1


async def wait_answered_by_notice(chat: Chat, message_id: str) -> None:
    """Wait until a message is closed, received and answered: once the notice is known as sent."""
    with trio.fail_after(60):
        while (await chat.ask("/why", parent_id=message_id)).count("\n") != 1:
            await trio.sleep(0.02)


# ── what is for the session ─────────────────────────────────────────────────


async def test_what_is_no_command_of_ours_is_the_sessions(state_dir: Path) -> None:
    async with open_team(state_dir) as (_, team, boss):
        for written, given in (
            ("/deploy now", "/deploy now"),
            ("//STATUS", "/STATUS"),
            ("//cancel", "/cancel"),
            ("/usefor x", "/usefor x"),
            ("stop that test", "stop that test"),
            ("don't stop", "don't stop"),
            ("please /stop", "please /stop"),
            ("see /status", "see /status"),
        ):
            await team.mention(written)
            turn = await take(boss)
            mention = "" if given.startswith("/") else "@larkd "
            assert turn["content"] == mention + given
            await end(boss, turn)
        assert await team.texts() == []


async def test_a_prompt_stays_where_it_was_dispatched_and_a_recalled_one_is_never_given(
    state_dir: Path,
) -> None:
    async with open_team(state_dir) as (platform, team, boss), worker(state_dir, "api") as api:
        await team.mention("first")
        first = await take(boss)
        waiting = [await team.mention(text) for text in ("second", "third")]
        await team.ask("/use api")
        await platform.post("recall", message_id=waiting[0]["message_id"])
        await team.mention("fourth")
        fourth = await take(api)
        assert fourth["content"].endswith("fourth")
        assert await team.ask("/use boss") == (
            "Switched to boss (previous: api)\n⏳ boss is still running…"
        )
        await end(boss, first)
        third = await take(boss)
        assert third["content"].endswith("third")
        await end(boss, third)
        # api's turn ends in the background; an aborted one would send nothing.
        await end(api, fourth, "aborted")
        assert (await wait_idle(team)).splitlines()[1:] == [
            "- boss (claude @ /w/boss) [current]",
            "- api (claude @ /w/api)",
        ]


# ── somebody still waits ────────────────────────────────────────────────────


async def test_a_turn_that_shows_nothing_new_reports_it_once_until_something_comes(
    state_dir: Path,
) -> None:
    tuning = {"stallNoticeMs": 1_000}
    async with open_team(state_dir, language="zh", tuning=tuning) as (platform, team, boss):
        began = trio.current_time()
        await team.mention("work")
        turn = await take(boss)
        await boss.send(t="delta", turn_id=turn["turn_id"], text="going")
        await boss.barrier()
        # On a machine that slow, nothing had come for a second before it did.
        at_once = trio.current_time() - began < 1
        # What is set below a minute is shown as one.
        assert await team.next_text() == "boss 已 1 分钟没有新内容，可发送 stop 停止。"
        await platform.wait_cards(1, "going", " · 1 分钟没有新内容", " · nothing new for 1 min")
        await end(boss, turn, text=" and done")
        (card,) = await platform.wait_cards(1, "going and done", "已完成 · ")
        assert "没有新内容" not in json.dumps(card["card"], ensure_ascii=False)
        assert len(await team.texts()) in ((1,) if at_once else (1, 2))
