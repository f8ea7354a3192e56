"""An agent that ends, seen by who wants something of it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from actors.proxies.agent import CANCEL_WITHIN_S, LOOK_EVERY_S, Agent, AgentSettings, Listener
from actors.proxies.agent_process import start_agent
from actors.proxies.errors import AgentUnheard
from protocol.agents import acp
from protocol.cards.question import Elicitation
from protocol.wire import messages as wire
from tests.actors.proxies.test_acp import alive

DEAF = Path(__file__).parents[2] / "fakes" / "acp_agent.py"


async def no_update(_update: acp.Update) -> None:
    raise AssertionError("it reported something")


async def no_question(_question: acp.AcpQuestion) -> wire.PermissionVerdict:
    raise AssertionError("it asked for something")


async def no_form(_form: Elicitation) -> wire.ElicitAnswer:
    raise AssertionError("it elicited something")


async def nothing_earlier() -> str:
    return ""


SETTINGS = AgentSettings(command=(sys.executable, str(DEAF)), cwd=str(Path(__file__).parent))


@asynccontextmanager
async def begun() -> AsyncIterator[tuple[Agent, trio.Nursery]]:
    """The agent of the tests, which has begun its conversation, until the block ends."""
    process = await start_agent(SETTINGS.command, SETTINGS.cwd, {}, os.environ, {})
    try:
        async with trio.open_nursery() as nursery:
            agent = Agent(SETTINGS, process, nursery)
            nursery.start_soon(process.read_stderr)
            nursery.start_soon(agent.read)
            await agent.begin(nothing_earlier)
            yield agent, nursery
            nursery.cancel_scope.cancel()
    finally:
        await process.end()


async def test_a_prompt_that_comes_as_the_agent_has_ended_is_for_another_one(
    tmp_path: Path,
) -> None:
    """Its nursery may be closed by then, and its process be gone."""
    command = (sys.executable, "-c", "raise SystemExit(3)")
    settings = AgentSettings(command=command, cwd=str(tmp_path))
    process = await start_agent(command, str(tmp_path), {}, os.environ, {})
    try:
        async with trio.open_nursery() as nursery:
            agent = Agent(settings, process, nursery)
            nursery.start_soon(process.read_stderr)
            nursery.start_soon(agent.read)
            await agent.over.wait()
        with trio.fail_after(60), pytest.raises(AgentUnheard, match="ended with status 3"):
            await agent.prompt([], Listener("turn_1", no_update, no_question, no_form))
    finally:
        await process.end()


async def test_how_long_nobody_asked_it_anything_is_not_its_silence(
    mock_clock: trio.testing.MockClock,
) -> None:
    """Nor is how long a person thought about what it asked."""
    mock_clock.rate = 1
    words: list[str] = []

    async def update(reported: acp.Update) -> None:
        if isinstance(reported, wire.Delta):
            words.append(reported.text)

    async def decide(question: acp.AcpQuestion) -> wire.PermissionVerdict:
        for _ in range(3):  # in steps: each is looked at
            mock_clock.jump(SETTINGS.idle_within_s)
            await trio.sleep(LOOK_EVERY_S / 100)
        option = question.options[0].id
        return wire.PermissionVerdict(request_id="r", outcome="selected", option_id=option)

    async with begun() as (agent, _):
        for word in ("tokens", "question", "tokens"):
            mock_clock.jump(SETTINGS.idle_within_s * 2)
            blocks = [{"type": "text", "text": word}]
            await agent.prompt(blocks, Listener("turn_1", update, decide, no_form))
    assert "selected" in "".join(words)


async def test_an_agent_that_is_deaf_is_ended_with_all_its_children(
    mock_clock: trio.testing.MockClock,
) -> None:
    """It has its five seconds, on a clock that runs faster once it is at work."""
    mock_clock.rate = 1
    pids: list[int] = []
    at_work = trio.Event()

    async def update(reported: acp.Update) -> None:
        assert isinstance(reported, wire.Delta)
        pids.extend(map(int, reported.text.split()[1:]))
        at_work.set()

    stopped = trio.CancelScope()

    async def prompt(agent: Agent) -> None:
        with stopped:
            blocks = [{"type": "text", "text": "deaf"}]
            await agent.prompt(blocks, Listener("turn_1", update, no_question, no_form))

    async with begun() as (agent, nursery):
        nursery.start_soon(prompt, agent)
        await at_work.wait()
        mock_clock.rate = 100
        stopped_at = trio.current_time()
        stopped.cancel()
        await agent.over.wait()
        assert trio.current_time() - stopped_at >= CANCEL_WITHIN_S
    assert len(pids) == 2
    with trio.fail_after(100 * 60):
        while any(map(alive, pids)):
            await trio.sleep(1)
