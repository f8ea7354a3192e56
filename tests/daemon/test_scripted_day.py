"""A day of a team in one bot, through the platform's API and the wire alone.

Three sessions and an agent, two direct chats, a group, a group of topics, a stranger and a
bot. What each chat saw is compared with the texts of the pages, in both languages.
"""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.daemon.test_ask import QUESTIONS, submit
from tests.daemon.test_commands import HOW_FAR, Chat, end, take, worker
from tests.daemon.test_topics import Group
from tests.kit.daemon import Platform, open_daemon, open_platform
from tests.kit.raw_proxy import RawProxy
from tests.kit.stdio_process import larkd

Map = dict[str, Any]
AGENT = Path(__file__).parents[1] / "fakes" / "remembering_agent.py"

LISTED = "- ● boss (claude @ /w/boss)\n- api (claude @ /w/api)"
GO_ON = "Send /resume and a number to go on with one."
KEPT = (
    "No session is connected. Your message is kept and will be delivered.\n"
    "An admin can start one: /new fake"
)
ENGLISH = {
    "alice": [
        "Switched to api (previous: boss)",
        f"Sessions:\n{LISTED} [current]\n- web (claude @ /w/web)",
        "✅ boss done",
        "Switched to boss (previous: api)",
        "Switched to api (previous: boss)",
        "Stopped boss.",
        "Nothing is running.",
        "Started helper.",
        "Mode: Plan",
        "helper has no earlier conversations here.",
        "Closed helper.",
        "Started helper.",
        f"Earlier conversations of helper in WORK:\n1. draw a plan (WHEN)\n{GO_ON}",
        "Resumed: draw a plan",
        "Closed helper.",
        "Switched to api (previous: boss)",
        "✅ boss done",
        "✅ boss done",
        KEPT,
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
    "topics": [
        "Switched to web (previous: boss)",
        "Nothing is running.",
        "Stopped current task.",
        "Switched to boss (previous: web)\n⏳ boss is still running…",
    ],
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
        "已启动 helper。",
        "模式：Plan",
        "helper 在此没有历史对话。",
        "已关闭 helper。",
        "已启动 helper。",
        "helper 在 WORK 的历史对话：\n1. draw a plan (WHEN)\n发送 /resume 加序号即可继续。",
        "已恢复：draw a plan",
        "已关闭 helper。",
        "已切到 api（上一个：boss）",
        "✅ boss 已完成",
        "✅ boss 已完成",
        "当前没有已连接的会话，消息已保留，连接后会送达。\n管理员可以启动一个：/new fake",
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
    "topics": [
        "已切到 web（上一个：boss）",
        "当前没有正在执行的任务。",
        "已停止当前任务。",
        "已切到 boss（上一个：web）\n⏳ boss 仍在执行中…",
    ],
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
async def test_a_day(
    state_dir: Path, tmp_path: Path, language: str, texts: dict[str, list[str]]
) -> None:
    (work := tmp_path / "work").mkdir()
    command = [sys.executable, str(AGENT), str(tmp_path / "store")]
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
            admins=[alice_id],
            agents={"fake": {"command": command, "cwd": str(work)}},
        ):
            alice = Chat(platform, alice_chat)
            bob = Chat(platform, await platform.chat(name="Bob"))
            group = Chat(platform, await platform.chat("group", "Team"))
            threads = {"type": "group", "name": "Threads", "topics": "topic_mode"}
            topics = Group(platform, await platform.post("chats", members=[alice_id], **threads))
            async with sessions(state_dir, "boss", "api", "web") as (boss, api, web):
                await morning(alice, boss, api)
                await a_stranger(platform, state_dir, bob, web)
                await the_group(platform, group, boss)
                await the_topics(topics, boss, web)
                await an_agent(alice)
                await the_sessions_own_work(platform, alice, boss)
            await evening(state_dir, alice)
        transcripts = {
            "alice": [
                re.sub(r"\(20[-0-9]+ [0-9]+:[0-9]+\)", "(WHEN)", one.replace(str(work), "WORK"))
                for one in await alice.texts()
                if not HOW_FAR.match(one)
            ],
            "bob": [re.sub(r".*larkd pair approve.*", "CODE", one) for one in await bob.texts()],
            "group": await group.texts(),
            "topics": await topics.texts(),
        }
    for who, sent in texts.items():
        assert transcripts[who] == sent


async def morning(alice: Chat, boss: RawProxy, api: RawProxy) -> None:
    """Switching while a task runs, a background end, stopping by name."""
    await alice.send("long task")
    first = await take(boss)
    await alice.ask("/use api")
    await alice.send("quick question")
    second = await take(api)
    await alice.ask("/sessions")
    await end(api, second, text="quick answer")
    await alice.platform.wait_cards(1, "quick answer", "Done · ")
    await end(boss, first, text="long answer")
    await alice.next_text()
    await alice.platform.wait_cards(1, "long answer", "Done · ")
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
    """Only whom the policy lets in is answered, and only when the bot is mentioned."""
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


async def the_topics(topics: Group, boss: RawProxy, web: RawProxy) -> None:
    """Each topic is on a session of its own; a stop word of one is nothing to another."""
    one, _ = await topics.topic("write the report")
    report = await take(boss)
    assert report["meta"]["thread_id"] == one
    two, _ = await topics.topic("/use web")
    await topics.next_text()
    assert await topics.asks(two, "stop") == (await topics.texts())[-1]
    await topics.send("check the page", mention_bot=True, thread_id=two)
    check = await take(web)
    assert check["meta"]["thread_id"] == two
    await topics.asks(two, "stop")
    assert (await web.until("cancel"))["turn_id"] == check["turn_id"]
    await end(web, check, "aborted")
    await topics.asks(two, "/use -")
    await end(boss, report, text="the report")
    await boss.barrier()


async def an_agent(alice: Chat) -> None:
    """Started from a chat: what is chosen of it, and its conversations."""
    await alice.ask("/new fake helper")
    await alice.ask("/mode plan")
    await alice.ask("/resume")
    await alice.send("draw a plan")
    await alice.platform.wait_cards(1, "conv-1: draw a plan.", "Done · ")
    await alice.ask("/close")
    await alice.ask("/new fake helper")
    await alice.send("something else")
    await alice.platform.wait_cards(1, "conv-2: something else.", "Done · ")
    await alice.ask("/resume")
    await alice.ask("/resume 1")
    await alice.send("and then")
    await alice.platform.wait_cards(1, "conv-1: draw a plan, and then.", "Done · ")
    await alice.ask("/close helper")


async def the_sessions_own_work(platform: Platform, alice: Chat, boss: RawProxy) -> None:
    """Boss asks, gets its answer wherever the chat is by then, and goes on by itself."""
    await alice.send("go ahead")
    await end(boss, await take(boss), text="On it.")
    await platform.wait_cards(1, "On it.", "Done · ")
    chat_id = alice.chat["chat_id"]
    assert (await boss.tool("ask", chat_id=chat_id, questions=QUESTIONS))["ok"]
    (card,) = [one for one in await platform.messages(alice.chat) if '"form"' in one["content"]]
    await alice.ask("/use api")
    await submit(platform, card)
    answer = await take(boss)
    assert answer["meta"]["kind"] == "answer"
    assert answer["content"].startswith("Which colour?: Blue")
    await end(boss, answer, text="Noted.")
    await alice.next_text()
    await boss.send(t="turn_open", turn_id="own-1", title="Tests are done")
    await boss.send(t="delta", turn_id="own-1", text="All of them passed.")
    await boss.send(t="turn_end", turn_id="own-1", status="complete")
    await platform.wait_cards(1, "Tests are done", "All of them passed.", "Done · ")
    await alice.next_text()


async def evening(state_dir: Path, alice: Chat) -> None:
    """A session that is away: its message is kept, and comes when it is back."""
    await alice.send("for api, later")
    await alice.next_text()
    async with sessions(state_dir, "boss", "api") as (boss, api):
        later = await take(api)
        assert (later["content"], later["attempt"]) == ("for api, later", 1)
        await end(api, later, text="Here it is.")
        await alice.platform.wait_cards(1, "Here it is.", "Done · ")
        await alice.ask("/use boss")
        await alice.send("good night")
        await end(boss, await take(boss))
