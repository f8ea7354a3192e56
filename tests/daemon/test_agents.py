"""Agents started from a chat: configured by name, supervised, and ended with the daemon."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.daemon.test_commands import Chat
from tests.kit.daemon import Daemon, Platform, open_daemon, open_platform
from tests.kit.raw_proxy import session

AGENT = Path(__file__).parents[1] / "fakes" / "acp_agent.py"


@asynccontextmanager
async def open_with_agents(
    state_dir: Path, tmp_path: Path, *more: str
) -> AsyncIterator[tuple[Platform, Daemon, Chat]]:
    agents = {"fake": {"command": [sys.executable, str(AGENT), *more], "cwd": str(tmp_path)}}
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
        for directory in ("x /nowhere", "/nowhere", "~nobody/at all"):
            named = directory.removeprefix("x ")
            assert await chat.ask(f"/new fake {directory}") == f"{named} is no directory."
        assert await chat.ask("/close boss") == (
            "boss was not started from a chat; end it where it runs."
        )
        for odd in ("~nobody-of-this-name", "/" + "x" * 5_000, "relative", "/\0"):
            assert (await chat.ask(f"/new fake x {odd}")).endswith(" is no directory.")
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


async def test_a_start_that_fails_is_answered_with_the_end_of_the_agents_own_words(
    state_dir: Path, tmp_path: Path
) -> None:
    async with (
        open_with_agents(state_dir, tmp_path, "--dies") as (_, _, chat),
        session(state_dir, "boss", "dispatcher") as boss,
    ):
        first, *words = (await chat.ask("/new fake Robot")).splitlines()
        assert first == "robot did not start: the agent ended with status 1"
        earlier = [f"earlier {number}" for number in range(11, 20)]
        own = [*earlier, "RuntimeError: no \uff1cat user_id=all> model"]
        assert words == [f"> {line}" for line in own], "none of them looks like ours"
        assert "robot" not in await chat.ask("/sessions")
        await chat.send("still yours")
        assert (await boss.until("deliver"))["content"] == "still yours"


async def test_an_agent_that_wants_a_login_is_not_started(state_dir: Path, tmp_path: Path) -> None:
    async with open_with_agents(state_dir, tmp_path, "--needs-login") as (_, _, chat):
        answer = await chat.ask("/new fake")
        assert answer.startswith("fake did not start: ")
        assert "log in" in answer


async def test_prompts_wait_for_a_start_and_commands_do_not(
    state_dir: Path, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    async with (
        open_with_agents(state_dir, tmp_path, f"--waits-for={ready}") as (platform, _, chat),
        session(state_dir, "boss", "dispatcher") as boss,
    ):
        await chat.send("/new fake Robot")
        await chat.send("hello")
        assert "robot" not in await chat.ask("/sessions")
        await boss.barrier()
        assert not [one for one in boss.seen if one["t"] == "deliver"]
        ready.touch()
        assert await chat.next_text() == "Started robot."
        await platform.wait_cards(1, "Hello there.", "Done · ")


async def test_a_start_under_way_ends_with_the_daemon(state_dir: Path, tmp_path: Path) -> None:
    async with open_with_agents(state_dir, tmp_path, f"--waits-for={tmp_path}/never") as (
        _,
        daemon,
        chat,
    ):
        await chat.send("/new fake")
        with trio.fail_after(60):
            while not (started := running(tmp_path)):
                await trio.sleep(0.05)
        daemon.signal(signal.SIGTERM)
        await daemon.wait(within_s=60)
        with trio.fail_after(60):  # killed, a process takes a moment to end
            while any(alive(pid) for pid in started):
                await trio.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_an_agent_comes_back_with_the_daemon_and_its_conversation(
    state_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "methods"
    command = ["/usr/bin/env", f"ACP_LOG={log}", sys.executable, str(AGENT), "--loads"]
    fakes = {
        "fake": {"command": command, "cwd": str(tmp_path)},
        "other": {"command": command, "cwd": str(tmp_path), "restore": False},
    }
    async with open_platform() as platform:
        who = await platform.chat()
        chat = Chat(platform, who)
        given: Any = {"agents": fakes, "admins": who["members"]}
        async with open_daemon(platform, state_dir, **given) as daemon:
            for wish in ("/new other left", "/new fake closed", "/new fake robot"):
                assert await chat.ask(wish) == f"Started {wish.split()[-1]}."
            assert await chat.ask("/close closed") == "Closed closed."
            await chat.send("hello")
            await platform.wait_cards(1, "Hello there.", "Done · ")
            daemon.signal(number)
            await daemon.wait(within_s=60)
        log.unlink()
        async with open_daemon(platform, state_dir, **given):
            assert await chat.next_text() == "robot was started again; the conversation goes on."
            await chat.send("blocks")
            await platform.wait_cards(1, "blocks ['text'] run ", "Done · ")
            assert log.read_text() == "session/load\n"
            with trio.fail_after(60):  # one that was killed with the daemon is a moment in ending
                while not (await line_of(chat, "left")).endswith("(offline)"):
                    await trio.sleep(0.1)
            listed = await chat.ask_skipping_notices("/sessions")
            assert "- robot (" in listed
            assert "[current]" in listed
            assert "closed" not in listed
            assert await chat.ask("/close left") == "Closed left."
            assert await chat.ask("/close") == "Closed robot."


async def line_of(chat: Chat, alias: str) -> str:
    listed = await chat.ask_skipping_notices("/sessions")
    return next(one for one in listed.splitlines() if f" {alias} (" in one)


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
        await daemon.wait(within_s=60)
        with trio.fail_after(60):
            while alive(pid):
                await trio.sleep(0.05)


def running(work: Path) -> list[int]:
    """Return the processes of the stand-in agent that work there."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(AGENT) in (one / "cmdline").read_text() and (one / "cwd").readlink() == work:
                found.append(int(one.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
