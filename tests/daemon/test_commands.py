"""Commands, stop words and background turns, as people in a chat see them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.daemon.test_operator import output_of
from tests.kit.daemon import Platform, open_daemon, open_platform, open_served, wait_reactions
from tests.kit.raw_proxy import RawProxy, session

Map = dict[str, Any]


HOW_FAR = re.compile(r"⏳ .*(is starting|正在启动)")


class Chat:
    """One chat, and what the bot writes there as plain text."""

    def __init__(self, platform: Platform, chat: Map) -> None:
        self.platform = platform
        self.chat = chat
        self._read = 0

    async def send(self, text: str, **more: Any) -> Map:
        return await self.platform.send(self.chat, text, **more)

    async def texts(self) -> list[str]:
        """Return all that the bot wrote as text so far."""
        return [
            json.loads(message["content"])["text"]
            for message in await self.platform.messages(self.chat)
            if message["sender"]["type"] == "app" and message["msg_type"] == "text"
        ]

    async def next_text(self) -> str:
        """Return the next text of the bot that is not how far a slow machine is with a start."""
        with trio.fail_after(60):
            while True:
                seq = self.platform.seq
                for text in (await self.texts())[self._read :]:
                    self._read += 1
                    if not HOW_FAR.match(text):
                        return text
                await self.platform.wait_change(seq)

    async def ask_skipping_notices(self, text: str) -> str:
        """Send a command; return its answer, whatever the bot has written meanwhile."""
        while len(await self.texts()) > self._read:
            await self.next_text()
        return await self.ask(text)

    async def ask(self, text: str, **more: Any) -> str:
        """Send a command; return its answer."""
        await self.send(text, **more)
        return await self.next_text()


@asynccontextmanager
async def open_chat(state_dir: Path, **options: Any) -> AsyncIterator[tuple[Platform, Chat]]:
    async with open_served(state_dir, **options) as platform:
        yield platform, Chat(platform, await platform.chat())


def worker(state_dir: Path, name: str, role: str = "session") -> Any:
    """Open a session that takes turns, called *name*, in ``/w/<name>``."""
    return session(state_dir, f"s-{name}", role, metadata={"agent": "claude", "cwd": f"/w/{name}"})


async def take(proxy: RawProxy) -> Map:
    """Take the next prompt of a session."""
    deliver = await proxy.until("deliver")
    await proxy.send(t="ack", event_id=deliver["event_id"], attempt=deliver["attempt"])
    return deliver


async def handled(proxy: RawProxy) -> None:
    """Return when what this session has acked is noted: what is asked in the chat sees it."""
    assert (await proxy.tool("feishu_channel_status", 77))["ok"]


async def end(proxy: RawProxy, deliver: Map, status: str = "complete", **fields: Any) -> None:
    await proxy.send(t="turn_end", turn_id=deliver["turn_id"], status=status, **fields)


async def wait_idle(chat: Chat) -> str:
    """Wait until no session has a turn or something unread; return the list of sessions."""
    with trio.fail_after(60):
        while "●" in (listed := await chat.ask("/ss", mention_bot=chat.chat["type"] == "group")):
            await trio.sleep(0.1)
    return listed


# ── who is there ────────────────────────────────────────────────────────────


async def test_no_session_was_ever_here(state_dir: Path) -> None:
    async with open_chat(state_dir) as (_, chat):
        assert await chat.ask("/sessions") == "No sessions yet."
        assert await chat.ask("/use api") == (
            'No session matching "api". Send /sessions to see all.'
        )
        assert await chat.ask("/cancel") == "Nothing is running."
        assert await chat.ask("/queue") == "Nothing is waiting."


async def test_sessions_are_listed_live_ones_first_and_found_by_a_part_of_their_name(
    state_dir: Path,
) -> None:
    async with open_chat(state_dir) as (_, chat), worker(state_dir, "boss", "dispatcher"):
        async with worker(state_dir, "api"), worker(state_dir, "web-app"):
            assert await chat.ask("/sessions") == (
                "Sessions:\n"
                "- boss (claude @ /w/boss) [current]\n"
                "- api (claude @ /w/api)\n"
                "- web-app (claude @ /w/web-app)"
            )
            assert await chat.ask("/use WEB") == "Switched to web-app (previous: boss)"
            assert await chat.ask("/ss ap") == "Switched to api (previous: web-app)"
            assert await chat.ask("/use p") == (
                '"p" matches multiple sessions, please specify:\n• api\n• web-app'
            )
            assert await chat.ask("/use -") == "Switched to boss (previous: api)"
        async with worker(state_dir, "db"):
            lines = (await chat.ask("/ss")).splitlines()
            assert lines[:3] == [
                "Sessions:",
                "- boss (claude @ /w/boss) [current]",
                "- db (claude @ /w/db)",
            ]
            assert sorted(lines[3:]) == [
                "- api (claude @ /w/api) (offline)",
                "- web-app (claude @ /w/web-app) (offline)",
            ], "remembered, though they are away"


async def test_a_chat_waits_for_its_session_that_is_away_also_over_a_restart(
    state_dir: Path,
) -> None:
    async with open_platform() as platform:
        async with open_daemon(platform, state_dir):
            chat = Chat(platform, await platform.chat())
            async with worker(state_dir, "boss", "dispatcher"), worker(state_dir, "api"):
                await chat.ask("/use api")
            await chat.send("for api")
            assert await chat.next_text() == (
                "No session is connected. Your message is kept and will be delivered."
            )
        async with (
            open_daemon(platform, state_dir),
            worker(state_dir, "boss", "dispatcher") as boss,
        ):
            assert "- api (claude @ /w/api) (offline) [current]" in await chat.ask("/sessions")
            async with worker(state_dir, "api") as api:
                assert (await take(api))["content"] == "for api"
            assert [one for one in boss.seen if one["t"] == "deliver"] == []
            await chat.ask("again for api")
            assert await chat.ask("/use -") == "Switched to boss (previous: api)"
            assert (await take(boss))["content"] == "again for api", "it need not wait for api"


async def test_both_languages(state_dir: Path) -> None:
    async with open_chat(state_dir) as (_, chat):
        assert await chat.ask("/help") != ""
    async with open_platform() as platform:
        chinese = open_daemon(platform, state_dir.with_name("zh"), language="zh")
        async with chinese, worker(state_dir.with_name("zh"), "api"):
            chat = Chat(platform, await platform.chat())
            assert await chat.ask("/ss") == "会话列表：\n- api (claude @ /w/api)"
            assert await chat.ask("/use api") == "已切到 api（上一个：无）"
            assert await chat.ask("/ss") == "会话列表：\n- api (claude @ /w/api) [当前]"
            assert await chat.ask("/use x") == "没有匹配「x」的会话。发 /sessions 看看有哪些。"
            assert await chat.ask("停止") == "当前没有正在执行的任务。"
            assert await chat.ask("/replymode") == "当前 reply mode：verbose"
            assert await chat.ask("/replymode final") == "已设置 reply mode：final"


# ── prompts are bound where they are dispatched ─────────────────────────────


async def test_a_prompt_runs_on_the_session_its_chat_was_on_and_ends_in_the_background(
    state_dir: Path,
) -> None:
    async with (
        open_chat(state_dir) as (platform, chat),
        worker(state_dir, "boss", "dispatcher") as boss,
        worker(state_dir, "api") as api,
    ):
        await chat.send("first")
        first = await take(boss)
        await chat.send("second")
        assert await chat.ask("/use api") == "Switched to api (previous: boss)"
        await chat.send("third")
        assert (await take(api))["content"] == "third", "it does not wait for boss"
        assert await chat.ask("/ss") == (
            "Sessions:\n- ● boss (claude @ /w/boss)\n- api (claude @ /w/api) [current]"
        )
        await boss.send(t="delta", turn_id=first["turn_id"], text="the answer")
        await end(boss, first)
        assert await chat.next_text() == "✅ boss done"
        second = await take(boss)
        assert second["content"] == "second", "dispatched to boss before the switch"
        await end(boss, second, "error", error="boom")
        assert await chat.next_text() == "⚠️ boss failed"
        assert "- ● boss" in await chat.ask("/ss"), "not looked at since"
        assert await chat.ask("/use boss") == "Switched to boss (previous: api)"
        assert "- boss (claude @ /w/boss) [current]" in await chat.ask("/ss")
        await platform.wait_cards(1, "the answer", "Done · ")


async def test_switching_to_a_session_at_work_mentions_it_and_stopping_it_is_no_news(
    state_dir: Path,
) -> None:
    async with (
        open_chat(state_dir) as (_, chat),
        worker(state_dir, "boss", "dispatcher"),
        worker(state_dir, "api") as api,
    ):
        await chat.ask("/use api")
        await chat.send("work")
        turn = await take(api)
        await chat.ask("/use -")
        assert await chat.ask("/use api") == (
            "Switched to api (previous: boss)\n⏳ api is still running…"
        )
        await chat.ask("/use -")
        assert await chat.ask("/stop api") == "Stopped api."
        assert (await api.until("cancel"))["turn_id"] == turn["turn_id"]
        await end(api, turn, "aborted")
        assert await chat.ask("/stop api") == "Nothing is running."
        await wait_idle(chat)
        assert "done" not in " ".join(await chat.texts())


# ── cancelling ──────────────────────────────────────────────────────────────


async def test_a_stop_word_that_quotes_a_card_stops_its_turn(state_dir: Path) -> None:
    async with (
        open_chat(state_dir) as (platform, chat),
        worker(state_dir, "boss", "dispatcher") as boss,
        worker(state_dir, "api") as api,
    ):
        await chat.ask("/use api")
        await chat.send("work")
        turn = await take(api)
        await api.send(t="delta", turn_id=turn["turn_id"], text="going")
        await platform.wait_cards(1, "going")
        (card,) = [one for one in await platform.messages(chat.chat) if one["card_id"]]
        await chat.ask("/use -")
        await chat.send("more")
        await take(boss)  # the chat's turn in flight is this one now
        await chat.send("Stop!", parent_id=card["message_id"])
        assert (await api.until("cancel"))["reason"] == "user"
        await platform.wait_cards(1, "🛑 Stopped")


async def test_a_recalled_message_never_starts_or_is_stopped(state_dir: Path) -> None:
    async with (
        open_chat(state_dir) as (platform, chat),
        worker(state_dir, "boss", "dispatcher") as boss,
    ):
        running = await chat.send("one")
        first = await take(boss)
        waiting = await chat.send("two")
        await chat.send("three")
        await platform.post("recall", message_id=waiting["message_id"])
        await platform.post("recall", message_id=running["message_id"])
        assert (await boss.until("cancel"))["reason"] == "recalled"
        await end(boss, first, "aborted")
        assert (await take(boss))["content"] == "three"


# ── waiting ─────────────────────────────────────────────────────────────────


async def test_what_waits_is_marked_listed_and_can_be_taken_back(state_dir: Path) -> None:
    async with (
        open_chat(state_dir) as (platform, chat),
        worker(state_dir, "boss", "dispatcher") as boss,
    ):
        await chat.send("one")
        first = await take(boss)
        sent = [await chat.send(word) for word in ("two", "three", "four")]
        await wait_reactions(platform, sent, ["OneSecond"])
        assert await chat.ask("/queue") == "Waiting for boss (3):\n1. two\n2. three\n3. four"
        assert await chat.ask("/queue drop 2") == "Dropped from the queue: three"
        await wait_reactions(platform, sent[1:2], [])
        assert await chat.ask("/queue drop 7") == (
            "There is no number 7 in the queue. Send /queue to see it."
        )
        assert await chat.ask("/queue drop x") == (
            "Usage: /queue, /queue drop <n>, or /queue clear"
        )
        await end(boss, first)
        second = await take(boss)
        assert second["content"] == "two"
        await wait_reactions(platform, sent[:1], ["Typing"])
        assert await chat.ask("/queue clear") == "Dropped 1 from the queue."
        assert await chat.ask("/queue") == "Nothing is waiting."
        await end(boss, second)
        await chat.send("five")
        assert (await take(boss))["content"] == "five"


async def test_twenty_may_wait_and_the_next_is_reported(state_dir: Path) -> None:
    async with (
        open_chat(state_dir) as (_, chat),
        worker(state_dir, "boss", "dispatcher") as boss,
    ):
        await chat.send("prompt 0")
        deliver = await take(boss)  # until it is given, it waits, too
        assert deliver["content"] == "prompt 0"
        for number in range(1, 22):
            await chat.send(f"prompt {number}")
        assert await chat.next_text() == "Session boss already has 20 messages waiting."
        for number in range(1, 21):
            await end(boss, deliver)
            deliver = await take(boss)
            assert deliver["content"] == f"prompt {number}"
        await end(boss, deliver)
        await chat.send("prompt 22")
        assert (await take(boss))["content"] == "prompt 22"
        assert len(await chat.texts()) == 1


async def test_a_channel_session_has_no_turns_to_wait_for(state_dir: Path) -> None:
    async with (
        open_chat(state_dir) as (_, chat),
        session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
    ):
        for number in range(25):
            await chat.send(f"prompt {number}")
        assert [(await boss.until("deliver"))["content"] for _ in range(25)] == [
            f"prompt {number}" for number in range(25)
        ]
        assert await chat.texts() == []


# ── how much is shown ───────────────────────────────────────────────────────


async def test_the_reply_mode_is_of_the_session_and_survives_a_restart(state_dir: Path) -> None:
    async with open_platform() as platform:
        chat = Chat(platform, await platform.chat())
        async with open_daemon(platform, state_dir), worker(state_dir, "boss", "dispatcher"):
            assert await chat.ask("/replymode") == "Current reply mode: verbose"
            assert await chat.ask("/replymode FINAL") == "Reply mode set to: final"
            assert await chat.ask("/replymode loud") == (
                "Usage: /replymode stream, final, verbose or reset"
            )
        async with (
            open_daemon(platform, state_dir),
            worker(state_dir, "boss", "dispatcher") as boss,
        ):
            assert await chat.ask("/replymode") == "Current reply mode: final"
            await chat.send("work")
            turn = await take(boss)
            await boss.send(t="delta", turn_id=turn["turn_id"], text="half of it")
            await boss.barrier()
            await platform.wait_cards(1, "Processing... ")
            assert "half of it" not in json.dumps(await platform.cards())
            await end(boss, turn, text=", and all")
            await platform.wait_cards(1, "half of it, and all", "Done · ")
            assert await chat.ask("/replymode reset") == "Reply mode set to: verbose"


async def test_status_names_who_receives_the_chat(state_dir: Path) -> None:
    async with (
        open_chat(state_dir) as (_, chat),
        worker(state_dir, "boss", "dispatcher"),
        worker(state_dir, "api"),
    ):
        assert await chat.ask("/status") == (
            "This chat: boss\nChannel owner: boss\nLease epoch: 1\nQueue: 0 waiting, 0 on their way"
        )
        await chat.ask("/use api")
        assert (await chat.ask("/status")).startswith(
            "This chat: api (chosen by /use)\nChannel owner: boss\n"
        )


async def test_a_command_in_a_group_is_obeyed_after_the_mention_of_the_bot(
    state_dir: Path,
) -> None:
    async with (
        open_chat(state_dir) as (platform, _),
        worker(state_dir, "boss", "dispatcher"),
        worker(state_dir, "api"),
    ):
        group = Chat(platform, await platform.chat("group", "Team"))
        answer = await group.ask("/use api", mention_bot=True)
        assert answer == "Switched to api (previous: boss)"


async def test_who_did_not_start_a_turn_in_a_group_can_neither_stop_nor_drop(
    state_dir: Path,
) -> None:
    async with (
        open_chat(state_dir, groupPolicy="open") as (platform, _),
        worker(state_dir, "boss", "dispatcher") as boss,
    ):
        chat = await platform.chat("group", "Team")
        other = (await platform.post("users", name="Mallory"))["open_id"]
        group = Chat(platform, chat)
        await group.send("one", mention_bot=True)
        await take(boss)
        await group.send("two", mention_bot=True)
        refused = "Only who started it, or an admin, can stop this."
        assert await group.ask("/stop", mention_bot=True, sender=other) == refused
        assert await group.ask("/stop boss", mention_bot=True, sender=other) == refused
        not_yours = "Only who sent a message, or an admin, can take it out of the queue."
        for words in ("/queue drop 1", "/queue clear"):
            assert await group.ask(words, mention_bot=True, sender=other) == not_yours


async def test_who_is_away_is_marked_so_and_kept_as_the_current_one(state_dir: Path) -> None:
    async with open_chat(state_dir) as (_, chat):
        async with worker(state_dir, "api"):
            await chat.ask("/use api")
        with trio.fail_after(60):
            while "(offline)" not in (listed := await chat.ask("/sessions")):
                await trio.sleep(0.05)
        assert listed == "Sessions:\n- api (claude @ /w/api) (offline) [current]"


async def test_a_stop_word_stops_what_was_started_from_its_own_chat(state_dir: Path) -> None:
    async with (
        open_chat(state_dir) as (platform, chat),
        worker(state_dir, "api", "dispatcher") as api,
    ):
        other = Chat(platform, await platform.chat("p2p", "Bob"))
        await other.send("bob's task")
        deliver = await take(api)
        assert await chat.ask("stop") == "Nothing is running."
        assert await chat.ask("/stop") == "Nothing is running."
        await other.send("stop")
        cancel = await api.until("cancel")
        assert cancel["turn_id"] == deliver["turn_id"]


async def test_cancel_stops_the_turn_of_this_chat_wherever_it_runs(state_dir: Path) -> None:
    async with (
        open_chat(state_dir) as (_, chat),
        worker(state_dir, "api", "dispatcher") as api,
        worker(state_dir, "web"),
    ):
        await chat.send("a long task")
        deliver = await take(api)
        await chat.ask("/use web")
        await chat.send("/cancel")
        assert (await api.until("cancel"))["turn_id"] == deliver["turn_id"]
        assert await chat.next_text() == "Stopped current task."


async def test_strangers_of_an_open_bot_prompt_and_stop_and_command_nothing(
    state_dir: Path,
) -> None:
    async with (
        open_chat(state_dir, allowFrom=[]) as (_, chat),
        worker(state_dir, "api", "dispatcher") as api,
    ):
        for text in ("/sessions", "/use api", "/status", "/queue clear", "/new codex", "/help"):
            assert await chat.ask(text) == "Commands are for people who are paired with this bot."
        await chat.send("a task")
        deliver = await take(api)
        await chat.send("/stop")
        assert (await api.until("cancel"))["turn_id"] == deliver["turn_id"]
        assert await chat.next_text() == "Stopped current task."


async def test_two_slashes_send_a_command_to_the_session(state_dir: Path) -> None:
    async with (
        open_chat(state_dir) as (_, chat),
        worker(state_dir, "api", "dispatcher") as api,
    ):
        await chat.send("//status of //all")
        assert (await take(api))["content"] == "/status of //all"


async def test_who_waits_for_a_session_learns_how_to_start_one(state_dir: Path) -> None:
    agents = {"codex": {"command": ["/bin/false"]}}
    async with open_served(state_dir, agents=agents) as platform:
        chat = Chat(platform, await platform.chat())
        assert await chat.ask("hello") == (
            "No session is connected. Your message is kept and will be delivered."
            "\nAn admin can start one: /new codex"
        )


# ── what became of a message ────────────────────────────────────────────────


def steps_of(text: str) -> list[str]:
    """Return the steps of an answer to ``/why``; each begins with its time."""
    lines = text.splitlines()
    for line in lines:
        assert re.fullmatch(r"\d\d:\d\d:\d\d .+", line), text
    return [line[9:] for line in lines]


async def test_why_follows_a_message_from_its_receipt_to_its_answer(state_dir: Path) -> None:
    async with (
        open_chat(state_dir) as (_, chat),
        worker(state_dir, "boss", "dispatcher") as boss,
    ):
        assert await chat.ask("/why") == (
            "Nothing is known of that message: it never arrived, or is older than 30 days."
        )
        first_sent = await chat.send("one")
        first = await take(boss)
        await handled(boss)
        waiting = await chat.send("two")
        quoted = {"parent_id": first_sent["message_id"]}
        assert steps_of(await chat.ask("/why", **quoted)) == [
            "received",
            "offered to boss",
            "seen by boss; not answered yet",
        ]
        assert steps_of(await chat.ask("/why")) == [
            "received",
            "waiting for boss; given and not answered yet: 1",
        ], "the last one, which is not the command before"
        await end(boss, first)
        await take(boss)
        await handled(boss)
        assert steps_of(await chat.ask("/why", **quoted)) == [
            "received",
            "offered to boss",
            "seen by boss",
            "answered by boss",
        ]
        shown = await output_of(state_dir, "log", waiting["message_id"])
        in_chat = await chat.ask("/why", parent_id=waiting["message_id"])
        for line in in_chat.splitlines():
            assert f"          {line}\n" in shown


async def test_why_names_what_refused_or_took_back_a_message(state_dir: Path) -> None:
    async with (
        open_served(state_dir, requireMention=True, language="zh") as platform,
        worker(state_dir, "boss", "dispatcher") as boss,
    ):
        group = Chat(platform, await platform.chat("group", "Team"))
        unheard = await group.send("no mention")
        direct = Chat(platform, await platform.chat())
        await direct.send("one")
        await take(boss)
        recalled = await direct.send("two")
        await platform.post("recall", message_id=recalled["message_id"])
        assert steps_of(await direct.ask("/why", parent_id=recalled["message_id"])) == [
            "已收到",
            "已移除：发送者撤回了消息",
        ]
        steps = steps_of(await group.ask("/why", mention_bot=True))
        assert steps == ["已收到", "已拒绝：没有 @ 机器人"]
        elsewhere = await direct.ask("/why", parent_id=unheard["message_id"])
        assert elsewhere.startswith("没有这条消息的记录"), "a message of another chat"
