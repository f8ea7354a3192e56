"""Conversations of agents: kept by the daemon, brought back after every end, and resumed."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.daemon.test_agents import alive
from tests.daemon.test_attachments import HELD_BACK_S, send, slow_downloads, upload
from tests.daemon.test_choosing import choices
from tests.daemon.test_commands import Chat
from tests.kit.daemon import Daemon, Platform, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import connect

AGENT = Path(__file__).parents[1] / "fakes" / "remembering_agent.py"
AGAIN = "robot was started again; the conversation goes on."


class Robot:
    """A chat with an agent that is started as ``robot``."""

    def __init__(self, platform: Platform, chat: Chat, work: Path, store: Path) -> None:
        self.platform = platform
        self.chat = chat
        self.work = work
        self.store = store
        self.lister = work.with_name("lister")
        self.options: list[str] = []
        self.given: dict[str, Any] = {}

    @asynccontextmanager
    async def daemon(self, state_dir: Path) -> AsyncIterator[Daemon]:
        command = [sys.executable, str(AGENT), str(self.store), *self.options]
        lister = [sys.executable, str(AGENT), f"{self.store}-of-lister", "--lists"]
        agents = {
            "fake": {"command": command, "cwd": str(self.work)},
            "lister": {"command": lister, "cwd": str(self.lister)},
        }
        members = self.chat.chat["members"]
        given = {"admins": members, "agentsPerPerson": 4, **self.given}
        async with open_daemon(self.platform, state_dir, agents=agents, **given) as daemon:
            yield daemon

    async def exchange(self, text: str, answer: str) -> None:
        """Send a prompt; wait until it is answered so, and by nothing else."""
        before = len(await self.platform.cards())
        await self.chat.send(text)
        with trio.fail_after(60):
            while True:
                cards = (await self.platform.cards())[before:]
                if len(cards) == 1 and "Done · " in json.dumps(cards, ensure_ascii=False):
                    break
                await trio.sleep(0.02)
        assert answer in json.dumps(cards)
        assert "replayed" not in json.dumps(cards)

    def process(self) -> int:
        """Return the process of the agent."""
        (found,) = [
            int(one.parent.name)
            for one in Path("/proc").glob("[0-9]*/cmdline")
            if command_of(one).startswith(
                b"\0".join((sys.executable.encode(), str(AGENT).encode(), str(self.store).encode()))
            )
        ]
        return found

    async def kill(self) -> None:
        """Kill the agent, and wait until it has closed its pipes: its proxy can know."""
        pid = self.process()
        os.kill(pid, signal.SIGKILL)
        with trio.fail_after(60):
            while alive(pid):
                await trio.sleep(0.01)


def command_of(cmdline: Path) -> bytes:
    """Return the command of a process; of one that has ended meanwhile, none."""
    try:
        return cmdline.read_bytes()
    except OSError:
        return b""


@pytest.fixture
async def robot(tmp_path: Path) -> AsyncIterator[Robot]:
    work = tmp_path / "work"
    work.mkdir()
    work.with_name("lister").mkdir()
    async with open_platform() as platform:
        yield Robot(platform, Chat(platform, await platform.chat()), work, tmp_path / "store")


async def test_earlier_conversations_are_listed_and_one_is_taken_up(
    state_dir: Path, robot: Robot
) -> None:
    """By our own record, or as an agent lists them that does."""
    async with robot.daemon(state_dir):
        await three_conversations(robot, "fake", robot.work, "plants", "stars")
        await three_conversations(robot, "lister", robot.lister, "About plants", "About stars")


async def three_conversations(robot: Robot, agent: str, cwd: Path, *titles: str) -> None:
    chat, (plants, stars) = robot.chat, titles
    for number, text in enumerate(("plants", "stars", "seas"), 1):
        assert await chat.ask(f"/new {agent} robot") == "Started robot."
        if number == 1:
            assert await chat.ask("/resume") == "robot has no earlier conversations here."
        await robot.exchange(text, f"conv-{number}: {text}.")
        if number < 3:
            assert await chat.ask("/close robot") == "Closed robot."
    first, *lines = (await chat.ask("/resume")).splitlines()
    assert first == f"Earlier conversations of robot in {cwd}:"
    assert [line.split(" (")[0] for line in lines] == [
        f"1. {stars}",
        f"2. {plants}",
        "Send /resume and a number to go on with one.",
    ]
    assert await chat.ask("/resume 3") == "There is no conversation 3. Send /resume to see all."
    assert await chat.ask("/resume it") == "Usage: /resume, or /resume <n>"
    assert await chat.ask("/resume 2") == f"Resumed: {plants}"
    await robot.exchange("and trees", "conv-1: plants, and trees.")
    # What it is in now is none of the earlier ones any more.
    assert "seas" in (await chat.ask("/resume")).splitlines()[1]
    assert await chat.ask("/close robot") == "Closed robot."


async def test_a_conversation_goes_on_after_the_agent_its_proxy_or_the_daemon_died(
    state_dir: Path, robot: Robot
) -> None:
    robot.options = ["--late"]
    chat = robot.chat
    async with robot.daemon(state_dir) as daemon:
        assert await chat.ask("/new fake robot") == "Started robot."
        assert await chat.ask("/mode plan") == "Mode: Plan"
        await robot.exchange("one", "conv-1: one.")
        await robot.kill()
        await robot.exchange("two", "conv-1: one, two.")
        assert await chat.next_text() == AGAIN
        await robot.kill()
        await robot.exchange("three", "conv-1: one, two, three.")
        await chat.send("/mode")
        await choices(robot.platform, chat.chat, "Mode: Plan", "● Plan")
        daemon.signal(signal.SIGKILL)
        await daemon.wait(within_s=60)
    async with robot.daemon(state_dir):
        assert await chat.next_text() == AGAIN, "once for the two ends before"
        await robot.exchange("four", "conv-1: one, two, three, four.")
        assert (await chat.texts()).count(AGAIN) == 2
    assert not list((state_dir / "conversations").glob("*")), "the daemon's journal has it"


async def test_that_a_conversation_could_not_be_loaded_is_shown(
    state_dir: Path, robot: Robot
) -> None:
    chat = robot.chat
    async with robot.daemon(state_dir):
        assert await chat.ask("/new fake robot") == "Started robot."
        await robot.exchange("one", "conv-1: one.")
    robot.options = ["--forgets"]
    robot.given = {"language": "zh"}
    async with robot.daemon(state_dir):
        assert await chat.next_text() == (
            "robot 已重新启动，但无法恢复之前的对话"
            "（the agent failed: Internal error: it is gone），将重新开始。"
        )
        await robot.exchange("two", "conv-2: two.")
        assert (await chat.ask("/resume")).splitlines()[1].startswith("1. one")
        assert await chat.ask("/resume 1") == (
            "未能恢复：the agent failed: Internal error: it is gone"
        )
        await robot.exchange("three", "conv-2: two, three.")


async def test_a_conversation_is_of_its_agent_and_directory(
    state_dir: Path,
) -> None:
    """As a proxy of somebody else's sees it: on the wire."""
    async with open_served(state_dir):
        for cwd, kept in (("/w", None), ("/w", "c-1"), ("/elsewhere", None)):
            fields: dict[str, Any] = {
                "capabilities": ["turns", "conversations"],
                "metadata": {"agent": "a", "cwd": cwd, "alias": "robot"},
            }
            async with connect(state_dir) as proxy:
                answer = await proxy.register(state_dir, "s", "dispatcher", **fields)
                assert (answer["t"], answer.get("conversation")) == ("registered", kept)
                if kept is None and cwd == "/w":
                    await proxy.send(t="conversation", id="c-1", title="About plants")
                    await proxy.send(t="conversation", id="\0")
                    wrong = await proxy.until("error")
                    assert wrong["code"] == "invalid_message"
                    assert "conversation" in wrong["message"]
                    await proxy.barrier()


async def test_what_was_sent_before_is_not_for_the_conversation_that_is_resumed(
    state_dir: Path, robot: Robot
) -> None:
    """Neither a picture that waits for its words, nor one that is being fetched, nor a text."""
    chat, platform = robot.chat, robot.platform
    running = "⏳ robot is still running…"
    async with robot.daemon(state_dir) as daemon:
        for text in ("plants", "stars"):
            assert await chat.ask("/new fake robot") == "Started robot."
            await robot.exchange(text, f"{text}.")
            assert text == "stars" or await chat.ask("/close robot") == "Closed robot."
        key = await upload(platform, "image", b"png")
        await slow_downloads(platform, HELD_BACK_S)
        await send(platform, chat.chat, "image", image_key=key)
        assert await chat.ask("/resume 1") == running
        await chat.send("what is that?")
        await platform.lift_faults()
        await platform.wait_cards(1, "conv-2: stars, [image]\\n.")
        await platform.wait_cards(1, "conv-2: stars, [image]\\n, what is that?.", "Done · ")
        # The list moves nothing: what is written after it is still about the picture.
        with daemon.held():
            await send(platform, chat.chat, "image", image_key=key)
            await chat.send("/resume")
            await chat.send("and this?")
        assert "1. plants" in await chat.next_text()
        await platform.wait_cards(1, "what is that?, [image]\\n\\nand this?")
        over = robot.work / "over"
        await chat.send(f"wait {over}")
        assert await chat.ask("/resume 1") == running
        over.touch()
        await platform.wait_cards(1, f", wait {over}.", "Done · ")
        assert await chat.ask("/resume 1") == "Resumed: plants"
        await robot.exchange("trees", "conv-1: plants, trees.")
