"""Agents started from a chat: configured by name, supervised, and ended with the daemon."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.daemon.test_commands import Chat
from tests.kit.daemon import Daemon, Platform, open_daemon, open_platform
from tests.kit.raw_proxy import session

AGENT = Path(__file__).parents[1] / "fakes" / "acp_agent.py"


@asynccontextmanager
async def open_with_agents(
    state_dir: Path, tmp_path: Path
) -> AsyncIterator[tuple[Platform, Daemon, Chat]]:
    agents = {"fake": {"command": [sys.executable, str(AGENT)], "cwd": str(tmp_path)}}
    async with open_platform() as platform:
        chat = await platform.chat()
        async with open_daemon(
            platform, state_dir, agents=agents, agentsPerPerson=1, admins=chat["members"]
        ) as daemon:
            yield platform, daemon, Chat(platform, chat)


async def test_an_agent_is_started_answers_and_is_closed(state_dir: Path, tmp_path: Path) -> None:
    async with (
        open_with_agents(state_dir, tmp_path) as (platform, _, chat),
        session(state_dir, "boss", "dispatcher") as boss,
    ):
        assert await chat.ask("/new fake Robot") == "Started robot."
        assert await chat.ask("/new fake") == (
            "You have 1 agents running already; close one first."
        )
        await chat.send("hello")
        await platform.wait_cards(1, "Hello there.", "Done · ")
        listed = await chat.ask_skipping_notices("/sessions")
        assert f"- robot ({Path(sys.executable).name} @ {tmp_path}) [current]" in listed
        assert await chat.ask("/close") == "Closed robot."
        await chat.send("for boss again")
        assert (await boss.until("deliver"))["content"] == "for boss again"
        assert "robot" not in await chat.ask("/sessions")


async def test_what_can_not_be_started_or_closed_is_answered(
    state_dir: Path, tmp_path: Path
) -> None:
    async with (
        open_with_agents(state_dir, tmp_path) as (platform, _, chat),
        session(state_dir, "boss", "dispatcher"),
    ):
        assert await chat.ask("/new") == ("Usage: /new <agent> [alias] [directory]. Agents: fake.")
        assert await chat.ask("/new codex") == "No agent codex is configured. Known: fake."
        assert await chat.ask("/new fake x /nowhere") == "/nowhere is no directory."
        assert await chat.ask("/close boss") == (
            "boss was not started from a chat; end it where it runs."
        )
        (tmp_path / "link").symlink_to("/")
        for outside in ("/", str(tmp_path / "link"), f"{tmp_path}/.."):
            assert "lies outside of the directories where fake may be started." in (
                await chat.ask(f"/new fake x {outside}")
            )
        other = Chat(platform, await platform.chat("p2p", "Bob"))
        for wish in ("/new fake", "/close boss"):
            assert (await other.ask(wish)).startswith(("Only an admin", "Commands are"))


async def test_what_follows_the_name_is_never_an_option(state_dir: Path, tmp_path: Path) -> None:
    async with open_with_agents(state_dir, tmp_path) as (platform, _, chat):
        assert await chat.ask("/new fake --env=LARKD_APP_SECRET") == (
            "Started --env-larkd_app_secret."
        )
        await chat.send("hello")
        await platform.wait_cards(1, "Hello there.", "Done · ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_agents_end_with_the_daemon_however_it_ends(
    state_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    async with open_with_agents(state_dir, tmp_path) as (platform, daemon, chat):
        await chat.ask("/new fake")
        await chat.send("deaf")
        (card,) = await platform.wait_cards(1, "pids ")
        words = json.dumps(card).partition("pids ")[2].split()
        pid = int("".join(filter(str.isdigit, words[0])))
        assert alive(pid)
        daemon.signal(number)
        await daemon.wait(within_s=15)
        with trio.fail_after(15):
            while alive(pid):
                await trio.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
