"""A day of a team in one bot, through the platform's API and the wire alone.

Three sessions, two direct chats, a group, a stranger and a bot. What each chat saw is
compared with the texts of the pages, in both languages.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.daemon.test_commands import Chat, end, take, worker
from tests.kit.daemon import Platform, open_daemon, open_platform
from tests.kit.raw_proxy import RawProxy
from tests.kit.stdio_process import larkd

Map = dict[str, Any]

LISTED = "- ● boss (claude @ /w/boss)\n- api (claude @ /w/api)"
ENGLISH = {
    "alice": [
        "Switched to api (previous: boss)",
        f"Sessions:\n{LISTED} [current]\n- web (claude @ /w/web)",
        "✅ boss done",
        "Switched to boss (previous: api)",
        "Switched to api (previous: boss)",
        "Stopped boss.",
        "Nothing is running.",
        "No session is connected. Your message is kept and will be delivered.",
        "Switched to boss (previous: api)",
    ],
    "bob": [
        "CODE",
        "You are paired. Send a message to begin.",
        "Switched to web (previous: boss)",
        'No session matching "zzz". Send /sessions to see all.',
        "Switched to boss (previous: web)",
        "⚠️ web failed",
    ],
    "group": ["Stopped current task."],
}
CHINESE = {
    "alice": [
        "已切到 api（上一个：boss）",
        f"会话列表：\n{LISTED} [当前]\n- web (claude @ /w/web)",
        "✅ boss 已完成",
        "已切到 boss（上一个：api）",
        "已切到 api（上一个：boss）",
        "已停止 boss。",
        "当前没有正在执行的任务。",
        "当前没有已连接的会话，消息已保留，连接后会送达。",
        "已切到 boss（上一个：api）",
    ],
    "bob": [
        "CODE",
        "配对成功，发一条消息就可以开始了。",
        "已切到 web（上一个：boss）",
        "没有匹配「zzz」的会话。发 /sessions 看看有哪些。",
        "已切到 boss（上一个：web）",
        "⚠️ web 失败",
    ],
    "group": ["已停止当前任务。"],
}


@asynccontextmanager
async def sessions(state_dir: Path, *names: str) -> AsyncIterator[list[RawProxy]]:
    """Open sessions that take turns; the one called boss is the dispatcher."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                worker(state_dir, name, "dispatcher" if name == "boss" else "session")
            )
            for name in names
        ]


@pytest.mark.parametrize(("language", "texts"), [("en", ENGLISH), ("zh", CHINESE)])
async def test_a_day(state_dir: Path, language: str, texts: dict[str, list[str]]) -> None:
    async with open_platform() as platform:
        alice_chat = await platform.chat()
        alice_id = alice_chat["members"][0]
        async with open_daemon(
            platform,
            state_dir,
            language=language,
            dmPolicy="pairing",
            groupPolicy="follow-user",
            allowFrom=[alice_id],
        ):
            alice = Chat(platform, alice_chat)
            bob = Chat(platform, await platform.chat(name="Bob"))
            group = Chat(platform, await platform.chat("group", "Team"))
            async with sessions(state_dir, "boss", "api", "web") as (boss, api, web):
                await morning(alice, boss, api)
                await a_stranger(platform, state_dir, bob, web)
                await the_group(platform, group, boss)
            await evening(state_dir, alice)
        transcripts = {
            "alice": await alice.texts(),
            "bob": [re.sub(r".*larkd pair approve.*", "CODE", one) for one in await bob.texts()],
            "group": await group.texts(),
        }
    assert transcripts == texts


async def morning(alice: Chat, boss: RawProxy, api: RawProxy) -> None:
    """Switching while a task runs, a background end, stopping by name."""
    await alice.send("long task")
    first = await take(boss)
    await alice.ask("/use api")
    await alice.send("quick question")
    second = await take(api)
    await alice.ask("/sessions")
    await end(api, second, text="quick answer")
    await end(boss, first, text="long answer")
    await alice.next_text()
    await alice.platform.wait_cards(1, "long answer", "· ")
    await boss.barrier()
    # A task of boss that is stopped from a chat that is elsewhere.
    await alice.ask("/use boss")
    await alice.send("another")
    third = await take(boss)
    await alice.ask("/use api")
    await alice.ask("/stop boss")
    await boss.until("cancel")
    await end(boss, third, "aborted")
    await alice.ask("stop")


async def a_stranger(platform: Platform, state_dir: Path, bob: Chat, web: RawProxy) -> None:
    """Bob is shown a code, let in by the operator, and works with a session of his own."""
    answer = await bob.ask("hello?")
    code = answer.rpartition("approve ")[2].split()[0].rstrip("。.")
    done = await trio.run_process(
        larkd("pair", "approve", code, "--state-dir", str(state_dir)), capture_stdout=True
    )
    assert done.returncode == 0
    await bob.next_text()
    await bob.ask("/use web")
    await bob.ask("/use zzz")
    await bob.send("try this")
    task = await take(web)
    await bob.ask("/use boss")
    await end(web, task, "error", error="it broke")
    await bob.next_text()


async def the_group(platform: Platform, group: Chat, boss: RawProxy) -> None:
    """Only whom the policy lets in is heard, and only when the bot is mentioned."""
    await group.send("nobody is meant")
    await group.send("do it", mention_bot=True)
    task = await take(boss)
    assert task["content"].endswith("do it")
    await group.send("停止", mention_bot=True)
    await boss.until("cancel")
    await group.next_text()
    await end(boss, task, "aborted")
    seen = [one["content"] for one in boss.seen if one["t"] == "deliver"]
    assert not any("nobody is meant" in content for content in seen)


async def evening(state_dir: Path, alice: Chat) -> None:
    """A session that is away: its message is kept, and comes when it is back."""
    await alice.send("for api, later")
    await alice.next_text()
    async with sessions(state_dir, "boss", "api") as (boss, api):
        later = await take(api)
        assert (later["content"], later["attempt"]) == ("for api, later", 1)
        await end(api, later)
        await alice.ask("/use boss")
        await alice.send("good night")
        await end(boss, await take(boss))
