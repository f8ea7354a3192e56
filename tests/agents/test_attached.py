"""Each real agent, driven from the chat as people do: started, asked, stopped, killed.

Run by ``make agents`` and ``make nightly``; skipped where the agents are not installed.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import Struct

from tests.actors.proxies.test_elicitation import asked_in
from tests.agents.installed import AGENTS, Agent, environment
from tests.agents.models import Models, serve_models
from tests.daemon.test_approvals import approval_card
from tests.daemon.test_attachments import send, upload
from tests.daemon.test_commands import Chat
from tests.kit.daemon import Platform, open_daemon, open_platform

Map = dict[str, Any]
STARTED_WITHIN_S = 60.0
"""`agents.md`: a start takes 2 to 30 s; twice that on a machine with other work."""
ANSWERED_WITHIN_S = 60.0
STORED_BYTES_MAX = 16 * 1024 * 1024
"""Of a file that may hold a conversation."""

pytestmark = pytest.mark.parametrize(
    "agent",
    [
        pytest.param(
            one,
            id=one.name,
            marks=pytest.mark.skipif(one.missing is not None, reason=one.missing or ""),
        )
        for one in AGENTS
    ],
)


class Attached(Struct, frozen=True, kw_only=True):
    """An agent in a chat, and what a person and an operator can do there."""

    agent: Agent
    platform: Platform
    chat: Chat
    models: Models
    home: Path
    work: Path
    state_dir: Path
    options: Map

    async def answered(self, *needles: str, cards: int = 1) -> list[Map]:
        """Wait until *cards* finished cards hold every one of the *needles*."""
        return await self.platform.wait_cards(cards, *needles, within_s=ANSWERED_WITHIN_S)

    async def approval(self, *needles: str) -> Map:
        """Wait until the agent asks for leave, and the card holds every one of the *needles*."""
        return await approval_card(
            self.platform, self.chat.chat, *needles, within_s=ANSWERED_WITHIN_S
        )

    async def approval_of_tool(self, name: str) -> Map:
        """Have a tool of an MCP server called, once the agent offers it its model."""
        with trio.fail_after(STARTED_WITHIN_S):
            while True:
                asked = len(await self.platform.cards())
                await self.chat.send(f"tool {name} {{}}")
                with trio.CancelScope() as looking:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._not_yet, asked + 1, name, looking)
                        card = await self.approval(name)
                        nursery.cancel_scope.cancel()
                if not looking.cancelled_caught:
                    return card

    async def _not_yet(self, cards: int, name: str, looking: trio.CancelScope) -> None:
        """End *looking* where each of so many cards ends without the tool."""
        await self.platform.wait_cards(cards, f"No tool {name}.", "Done · ", within_s=600)
        looking.cancel(reason="its server is not there yet")

    async def settled(self, answer: str) -> None:
        """Wait until a conversation can be brought back: agents store *answer* after they end."""
        with trio.fail_after(ANSWERED_WITHIN_S):
            while not stored(self.home, answer.encode()):
                await trio.sleep(0.1)
        if self.agent.by_minute:
            await trio.sleep(61 - time.time() % 60)

    async def press(self, card: Map, label: str) -> None:
        """Press the button of an approval whose label begins with *label*."""
        content = json.loads(card["content"])
        for element in content["body"]["elements"]:
            for button in buttons(element):
                if button["text"]["content"].startswith(label):
                    await self.platform.post(
                        "click", message_id=card["message_id"], element_id=button["element_id"]
                    )
                    return
        raise AssertionError(f"no button {label} on {content}")


def buttons(element: Map) -> list[Map]:
    """Return the buttons in an element, however deep."""
    if element.get("tag") == "button":
        return [element]
    inner = [*element.get("elements", []), *element.get("columns", [])]
    return [button for one in inner for button in buttons(one)]


@asynccontextmanager
async def attached(agent: Agent, state_dir: Path, tmp_path: Path) -> AsyncIterator[Attached]:
    """A daemon, the sandbox, the stand-in models, and the agent started by ``/new``."""
    work = tmp_path / "work"
    work.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    models = Models()
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve_models, models)
        env = {**environment(home), **agent.prepare(home, url)}
        given = [f"{name}={value}" for name, value in env.items()]
        command = ["/usr/bin/env", *given, *agent.line()]
        configured = {agent.name: {"command": command, "cwd": str(work)}}
        async with open_platform() as platform:
            person = await platform.chat()
            user = next(one for one in (await platform.get("state"))["users"])["open_id"]
            options: Map = {"agents": configured, "admins": [user]}
            async with open_daemon(platform, state_dir, **options):
                chat = Chat(platform, person)
                await chat.send(f"/new {agent.name} it")
                started = await next_text(chat, STARTED_WITHIN_S)
                assert started.startswith("Started "), started
                yield Attached(
                    agent=agent,
                    platform=platform,
                    chat=chat,
                    models=models,
                    home=home,
                    work=work,
                    state_dir=state_dir,
                    options=options,
                )
        nursery.cancel_scope.cancel()


async def next_text(chat: Chat, within_s: float) -> str:
    with trio.fail_after(within_s):
        while True:
            with trio.move_on_after(5):
                text = await chat.next_text()
                if not text.startswith("⏳"):  # how far it is
                    return text


async def test_an_answer_streams_word_by_word(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        await it.chat.send("text with some words")
        await it.answered("You wrote: with some words", "Done · ")


async def test_a_tool_runs_once_a_person_allows_it(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        await it.chat.send("run touch made.txt && echo made it")
        card = await it.approval("touch made.txt")
        await it.press(card, "Allow once")
        await it.answered("The tool gave: ", "Done · ")
        assert (it.work / "made.txt").exists()


async def test_a_tool_that_is_rejected_does_not_run(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        await it.chat.send("run touch made.txt")
        card = await it.approval("touch made.txt")
        await it.press(card, "Reject")
        await it.answered("❌")
        assert not (it.work / "made.txt").exists()


async def test_a_file_is_written_after_its_diff_was_shown(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        if agent.write_mode:
            await it.chat.ask_skipping_notices(f"/mode {agent.write_mode}")
        await it.chat.send(f"write {it.work / 'made.txt'}")
        card = await it.approval("made.txt", "written by the model")
        await it.press(card, "Allow once")
        await it.answered("The tool gave: ", "Done · ")
        assert (it.work / "made.txt").read_text() == "written by the model\n"


async def test_a_question_is_answered_on_a_card(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        await it.chat.send("ask Which colour?")
        needles = ("Which colour?", "Red", "it is Blue", "Decline")
        card = await asked_in(it.platform, it.chat.chat, *needles)
        assert await card.press("submit", {"choice_0": "1"}) == "Answered"
        await it.answered("The tool gave: ", "Blue", "Done · ")


async def test_an_mcp_server_beyond_it_asks_on_a_card(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        await it.press(await it.approval_of_tool("book"), "Allow")
        card = await asked_in(it.platform, it.chat.chat, "For your table", "How many seats?")
        assert "from 1 to 9" in await card.press("submit", {"text_0": "12"})
        assert await card.press("submit", {"text_0": "4", "choice_1": "0"}) == "Answered"
        await it.answered("The tool gave: ", "booked 4 seats, window True", "Done · ")


async def test_stop_ends_a_long_answer_and_the_next_prompt_is_served(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        await it.chat.send("slow 300")
        await it.platform.wait_cards(1, "word-5", within_s=ANSWERED_WITHIN_S)
        await it.chat.send("stop")
        await it.platform.wait_cards(1, "word-5", "🛑 Stopped · ", within_s=60)
        await it.chat.send("text after the stop")
        await it.answered("You wrote: after the stop", "Done · ")


async def test_prompts_queue_and_keep_their_order(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        for text in ("slow 20", "text second", "recall"):
            await it.chat.send(text)
        await it.answered("You asked: ", "slow 20; text second", "Done · ")


async def test_the_conversation_goes_on_after_the_agent_was_killed(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        await it.chat.send("text remember me")
        await it.answered("You wrote: remember me", "Done · ")
        await it.settled("You wrote: remember me")
        for pid in processes(it.work):
            with suppress(ProcessLookupError):  # it went with another one
                os.kill(pid, signal.SIGKILL)
        await it.chat.send("recall")
        await it.answered("You asked: text remember me", "Done · ")


async def test_the_conversation_goes_on_after_the_daemon_was_killed_in_a_turn(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        await it.chat.send("text remember me")
        await it.answered("You wrote: remember me", "Done · ")
        await it.settled("You wrote: remember me")
        await it.chat.send("slow 300")
        # By then what the card holds was kept more than once: it is at most two seconds old.
        await it.platform.wait_cards(1, "word-40", within_s=ANSWERED_WITHIN_S)
        await kill_daemon(it.state_dir)
        async with open_daemon(it.platform, it.state_dir, **it.options):
            await it.platform.wait_cards(1, "word-5", "Interrupted by a restart.", within_s=60)
            await it.chat.send("recall")
            cut_short = "; slow 300" if agent.keeps_unanswered else ""
            await it.answered(f"You asked: text remember me{cut_short}", "Done · ")


async def test_a_picture_reaches_the_model(agent: Agent, state_dir: Path, tmp_path: Path) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        key = await upload(it.platform, "image", base64.b64decode(PIXEL))
        await send(it.platform, it.chat.chat, "image", image_key=key)
        await it.chat.send("look")
        await it.answered("Pictures: 1 image/png", "Done · ")


async def test_a_file_reaches_the_model(agent: Agent, state_dir: Path, tmp_path: Path) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        key = await upload(it.platform, "file", b"the word in it is xyzzy-42\n")
        await send(it.platform, it.chat.chat, "file", file_key=key, file_name="notes.txt")
        await it.chat.send("find xyzzy-42")
        await it.answered("Found: xyzzy-42", "Done · ")
        (saved,) = (it.work / ".larkd" / "attachments").rglob("notes.txt")
        assert saved.is_file()


async def test_a_mode_and_a_model_are_chosen(agent: Agent, state_dir: Path, tmp_path: Path) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        chosen = await it.chat.ask_skipping_notices(f"/mode {agent.mode}")
        assert chosen.startswith("Mode: "), chosen
        if agent.model:
            chosen = await it.chat.ask_skipping_notices(f"/model {agent.model}")
            assert chosen.startswith("Model: "), chosen
        await it.chat.send("text in that mode")
        await it.answered("You wrote: in that mode", "Done · ")


async def test_its_own_slash_commands_are_listed(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        listed = ""
        with trio.move_on_after(ANSWERED_WITHIN_S):
            while "\n/" not in f"\n{listed}":  # some offer them a while after they began
                await trio.sleep(1)
                listed = await it.chat.ask_skipping_notices("/commands")
        assert "\n/" in f"\n{listed}", listed


async def test_an_agent_that_wakes_up_is_shown(
    agent: Agent, state_dir: Path, tmp_path: Path
) -> None:
    async with attached(agent, state_dir, tmp_path) as it:
        await it.chat.send("later sleep 2; touch woke.txt")
        card = await it.approval("woke.txt")
        await it.press(card, "Allow once")
        await it.platform.wait_cards(2, "Done · ", within_s=ANSWERED_WITHIN_S)


PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)


def stored(home: Path, text: bytes) -> bool:
    """Whether a file below *home* holds *text*; files come and go meanwhile."""
    for path in home.rglob("*"):
        with suppress(OSError):
            small = path.is_file() and path.stat().st_size < STORED_BYTES_MAX
            if small and text in path.read_bytes():
                return True
    return False


def processes(work: Path) -> list[int]:
    """The agent's own processes: those that run in its directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
            if (
                entry.name.isdigit()
                and (entry / "cwd").resolve() == work
                and b"larkd" not in command
                and b"actors" not in command
            ):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def kill_daemon(state_dir: Path) -> None:
    pid = json.loads((state_dir / "daemon.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    with trio.fail_after(60):
        while Path(f"/proc/{pid}/stat").exists() and "Z" not in stat(pid):
            await trio.sleep(0.02)


def stat(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
