"""Agents started from a chat: each the child process ``larkd acp``, kept alive, ended on exit.

The actor owns which of them are to run. A child that ends by itself is started again,
later each time; one that keeps ending is given up, and the log says so.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio

from actors.messages import agents
from protocol import strings
from protocol.config.settings import AgentCommand
from protocol.ids import OpenId, SessionId
from protocol.routing.alias import clean

AGENTS_MAX: Final = 64
RESTART_FIRST_S: Final = 1.0
RESTART_MAX_S: Final = 30.0
STABLE_S: Final = 60.0
"""A child that ran for so long is started again at once."""
RESTARTS_MAX: Final = 10
END_WITHIN_S: Final = 5.0
"""What ``larkd acp`` takes to end an agent that does not want to."""
SESSION_BYTES: Final = 6

log = structlog.get_logger()


RunAgent = Callable[[list[str]], Awaitable[int]]
"""Runs a command to its end and returns its status; cancelled, it ends what it started."""


class AgentsSettings(msgspec.Struct, frozen=True, kw_only=True):
    commands: Mapping[str, AgentCommand]
    per_person: int = 4
    """How many one person may have started at a time."""
    state_dir: Path
    run_agent: RunAgent


async def run(
    settings: AgentsSettings,
    inbox: trio.MemoryReceiveChannel[agents.AgentsMessage],
    *,
    rng: random.Random,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; the children end then, within a few seconds."""
    with inbox:
        async with trio.open_nursery() as nursery:
            actor = _Agents(settings, nursery, rng)
            task_status.started()
            async for message in inbox:
                actor.handle(message)


class _Agents:
    def __init__(self, settings: AgentsSettings, nursery: trio.Nursery, rng: random.Random) -> None:
        self._settings = settings
        self._nursery = nursery
        self._rng = rng
        self._running: dict[SessionId, trio.CancelScope] = {}
        self._started_by: dict[SessionId, OpenId] = {}

    def handle(self, message: agents.AgentsMessage) -> None:
        match message:
            case agents.StartAgent():
                with message.reply:
                    message.reply.send(self._start(message))
            case agents.EndAgent(session_id=session_id):
                with message.reply:
                    scope = self._running.get(session_id)
                    if scope is not None:
                        scope.cancel(reason="/close")
                    message.reply.send(scope is not None)

    def _start(self, wish: agents.StartAgent) -> agents.Started | agents.NotStarted:
        command = self._settings.commands.get(wish.agent)
        if command is None:
            known = ", ".join(self._settings.commands) or strings.NOBODY
            return agents.NotStarted(
                why=strings.AGENT_UNKNOWN.format(agent=wish.agent, known=known)
            )
        number = hashlib.blake2b(wish.key.encode(), digest_size=SESSION_BYTES).hexdigest()
        session_id = SessionId(f"agent-{wish.agent}-{number}")
        if len(self._running) >= AGENTS_MAX and session_id not in self._running:
            return agents.NotStarted(why=strings.AGENTS_FULL.format(count=AGENTS_MAX))
        if list(self._started_by.values()).count(wish.by) >= self._settings.per_person:
            return agents.NotStarted(
                why=strings.AGENTS_OF_PERSON.format(count=self._settings.per_person)
            )
        home = Path(command.cwd or "~").expanduser()
        cwd = Path(wish.cwd).expanduser() if wish.cwd else home
        if not cwd.is_absolute() or not cwd.is_dir():
            return agents.NotStarted(why=strings.AGENT_NO_DIRECTORY.format(cwd=str(cwd)))
        cwd = cwd.resolve()
        roots = (home, *(Path(root).expanduser() for root in command.roots))
        if not any(cwd.is_relative_to(root.resolve()) for root in roots):
            return agents.NotStarted(
                why=strings.AGENT_OUTSIDE.format(cwd=str(cwd), agent=wish.agent)
            )
        alias = clean(wish.alias or wish.agent)
        started = agents.Started(
            session_id=session_id, agent=wish.agent, alias=alias, cwd=os.fspath(cwd)
        )
        if session_id in self._running:
            return started
        child = [
            *(sys.executable, "-m", "actors.cli", "acp", "--exit-with-parent"),
            # Each in one word: what people wrote is never read as an option.
            f"--state-dir={os.fspath(self._settings.state_dir)}",
            f"--session-id={session_id}",
            f"--alias={alias}",
            "--role=session",
            f"--cwd={os.fspath(cwd)}",
            f"--fs={command.fs}",
            *(f"--env={name}" for name in command.env if name in os.environ),
            *("--", *command.command),
        ]
        self._running[session_id] = trio.CancelScope()
        self._started_by[session_id] = wish.by
        self._nursery.start_soon(self._keep_alive, session_id, child)
        return started

    async def _keep_alive(self, session_id: SessionId, command: list[str]) -> None:
        pause_s, restarts = RESTART_FIRST_S, 0
        try:
            with self._running[session_id]:
                while restarts <= RESTARTS_MAX:
                    began_at = trio.current_time()
                    status = await self._settings.run_agent(command)
                    if trio.current_time() - began_at > STABLE_S:
                        pause_s, restarts = RESTART_FIRST_S, 0
                    restarts += 1
                    log.warning("agent.ended", session=session_id, status=status, restarts=restarts)
                    await trio.sleep(pause_s * (1 + self._rng.random() / 4))
                    pause_s = min(pause_s * 2, RESTART_MAX_S)
                log.error("agent.given_up", session=session_id)
        finally:
            del self._running[session_id]
            del self._started_by[session_id]


async def run_process(command: list[str]) -> int:
    """Run the child to its end; cancelled, it is ended with its agent."""
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return await process.wait()
    finally:
        with trio.CancelScope(deadline=trio.current_time() + END_WITHIN_S, shield=True):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()  # noqa: ASYNC102  # shielded above, with a deadline
        if process.returncode is None:
            process.kill()
