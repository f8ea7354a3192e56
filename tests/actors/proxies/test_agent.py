"""An agent that ends, seen by who wants something of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from actors.proxies.agent import Agent, AgentSettings, Listener
from actors.proxies.agent_process import start_agent
from actors.proxies.errors import AgentUnheard
from protocol.agents import acp
from protocol.cards.question import Elicitation
from protocol.wire import messages as wire


async def no_update(_update: acp.Update) -> None:
    raise AssertionError("it reported something")


async def no_question(_question: acp.AcpQuestion) -> wire.PermissionVerdict:
    raise AssertionError("it asked for something")


async def no_form(_form: Elicitation) -> wire.ElicitAnswer:
    raise AssertionError("it elicited something")


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
