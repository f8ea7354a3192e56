"""Agents started from a chat: each the child process ``larkd acp``, kept alive, ended on exit.

The actor owns which of them are to run. A child that ends by itself is started again,
later each time; one that keeps ending is given up, and the log has it.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio

from actors.agents.directories import directory, is_within
from actors.agents.process import RunAgent
from actors.agents.running import LINE_CHARACTERS_MAX, RunningAgent
from actors.kit.mailbox import ask_or
from actors.messages import agents, ownership
from protocol.agents import starting
from protocol.config.settings import AgentCommand
from protocol.ids import SessionId
from protocol.quoted import quoted
from protocol.routing.alias import clean
from protocol.routing.roster import KnownSession, StartedAgent
from protocol.strings import Text, about_agents, in_chat

AGENTS_MAX: Final = 64
TOPIC_AGENTS_MAX: Final = 20
"""Of one account, beside those."""
RESTART_FIRST_S: Final = 1.0
RESTART_MAX_S: Final = 30.0
STABLE_S: Final = 60.0
"""A child that ran for so long is started again at once."""
RESTARTS_MAX: Final = 10
SESSION_BYTES: Final = 6
ASK_WITHIN_S: Final = 5.0

log = structlog.get_logger()


Notify = Callable[[SessionId, Text], Awaitable[None]]
"""``notify(session_id, text)``: to where the session was given its last message."""


class AgentsSettings(msgspec.Struct, frozen=True, kw_only=True):
    commands: Mapping[str, AgentCommand]
    per_person: int = 4
    """How many one person may have started at a time."""
    state_dir: Path
    run_agent: RunAgent
    notify: Notify


async def run(
    settings: AgentsSettings,
    inbox: trio.MemoryReceiveChannel[agents.AgentsMessage],
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage],
    *,
    rng: random.Random,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; the children end then, within a few seconds.

    What an earlier run had started comes back first, with its conversation: the proxy keeps
    that by its session id.
    """
    with inbox:
        async with trio.open_nursery() as nursery:
            actor = _Agents(settings, nursery, rng)
            task_status.started()
            # Before anything is asked: who ends an agent finds it here.
            actor.restore(await _started_earlier(ownership_tx))
            async for message in inbox:
                actor.handle(message)


class _Agents:
    def __init__(self, settings: AgentsSettings, nursery: trio.Nursery, rng: random.Random) -> None:
        self._settings = settings
        self._nursery = nursery
        self._rng = rng
        self._running: dict[SessionId, RunningAgent] = {}

    def handle(self, message: agents.AgentsMessage) -> None:
        match message:
            case agents.StartAgent():
                started = self._start(message)
                if isinstance(started, agents.NotStarted):
                    message.reply.send(started)
                else:
                    self._nursery.start_soon(_answer, message, started)
            case agents.FindProgress(key=key):
                with message.reply:
                    lines = (one.line for one in self._running.values() if one.key == key)
                    message.reply.send(next(lines, ""))
            case agents.EndAgent(session_id=session_id):
                with message.reply:
                    running = self._running.get(session_id)
                    if running is not None:
                        running.scope.cancel(reason="/close")
                    message.reply.send(running is not None)

    def restore(self, started: Sequence[KnownSession]) -> None:
        """Run again what was started from a chat and not closed, where its settings want that."""
        for one in started:
            if one.started is None:
                continue
            command = self._settings.commands.get(one.started.agent)
            if command is not None and not command.restore:
                continue
            why_not = _why_not_restored(one.started, command)
            if command is None or why_not is not None:
                self._gone(one.session_id, why_not or about_agents.AGENT_NOT_STARTED)
                continue
            running = RunningAgent(one.started)
            running.settle(running.started(one.session_id))
            self._begin(one.session_id, running, command)
            log.info("agent.restored", session=one.session_id)

    def _begin(self, session_id: SessionId, running: RunningAgent, command: AgentCommand) -> None:
        running.missing = tuple(name for name in command.env if name not in os.environ)
        if running.missing:
            log.warning("agent.environment_missing", agent=running.agent, names=running.missing)
        self._running[session_id] = running
        self._nursery.start_soon(self._run, session_id, running, command)

    def _gone(self, session_id: SessionId, why: Text) -> None:
        """Let who works with it know that it does not come back."""
        log.warning("agent.not_restored", session=session_id, reason=why.en)
        self._nursery.start_soon(self._settings.notify, session_id, why)

    def _start(self, wish: agents.StartAgent) -> RunningAgent | agents.NotStarted:
        command = self._settings.commands.get(wish.agent)
        if command is None:
            known = ", ".join(self._settings.commands) or in_chat.NOBODY
            return agents.NotStarted(
                why=about_agents.AGENT_UNKNOWN.format(agent=wish.agent, known=known)
            )
        number = hashlib.blake2b(wish.key.encode(), digest_size=SESSION_BYTES).hexdigest()
        session_id = SessionId(f"agent-{wish.agent}-{number}")
        running = self._running.get(session_id)
        if running is not None:
            return running
        too_many = self._too_many(wish)
        if too_many is not None:
            return agents.NotStarted(why=too_many)
        named = wish.cwd or command.cwd or "~"
        cwd = directory(named)
        if cwd is None:
            return agents.NotStarted(why=about_agents.AGENT_NO_DIRECTORY.format(cwd=named))
        if not is_within(cwd, command):
            return agents.NotStarted(
                why=about_agents.AGENT_OUTSIDE.format(cwd=str(cwd), agent=wish.agent)
            )
        alias = clean(wish.alias or wish.agent)
        running = RunningAgent(
            StartedAgent(
                agent=wish.agent,
                alias=alias,
                cwd=os.fspath(cwd),
                by=wish.by,
                topic_of=wish.topic_of,
            ),
            wish.key,
        )
        self._begin(session_id, running, command)
        self._nursery.start_soon(self._watch_start, running)
        return running

    def _too_many(self, wish: agents.StartAgent) -> Text | None:
        """Those of topics count per account, the others per person."""
        if wish.topic_of is not None:
            of_topics = sum(one.topic_of == wish.topic_of for one in self._running.values())
            full = of_topics >= TOPIC_AGENTS_MAX
            return about_agents.AGENTS_OF_TOPICS.format(count=TOPIC_AGENTS_MAX) if full else None
        others = [one for one in self._running.values() if one.topic_of is None]
        if len(others) >= AGENTS_MAX:
            return about_agents.AGENTS_FULL.format(count=AGENTS_MAX)
        if sum(one.by == wish.by for one in others) >= self._settings.per_person:
            return about_agents.AGENTS_OF_PERSON.format(count=self._settings.per_person)
        return None

    async def _run(
        self, session_id: SessionId, running: RunningAgent, command: AgentCommand
    ) -> None:
        state_dir = self._settings.state_dir
        child = running.arguments(session_id, command, state_dir)
        first = running.arguments(session_id, command, state_dir, first=True)
        try:
            with running.scope:
                if not running.settled.is_set():
                    await self._start_first(session_id, running, first)
                    await trio.sleep(RESTART_FIRST_S)
                await self._keep_alive(session_id, child)
        finally:
            running.settle(running.outcome)
            del self._running[session_id]

    async def _start_first(
        self, session_id: SessionId, running: RunningAgent, child: list[str]
    ) -> None:
        """Run it for the first time, to its end. One that has not become ready is over then."""

        def take(report: bytes) -> None:
            match starting.decode(report):
                case starting.ReportReady(alias=alias):
                    running.alias = alias
                    running.settle(running.started(session_id))
                case starting.Progress(line=line):
                    running.line = quoted(line, LINE_CHARACTERS_MAX)
                case starting.ReportFailed(why=why):
                    running.settle(agents.NotStarted(why=running.failed(why)))

        status = await self._settings.run_agent(child, take)
        running.settle(running.outcome)
        log.warning("agent.ended", session=session_id, status=status)

    async def _watch_start(self, running: RunningAgent) -> None:
        """End an agent whose start fails, or takes too long."""
        with trio.move_on_after(agents.START_WITHIN_S):
            await running.settled.wait()
        running.settle(
            agents.NotStarted(
                why=about_agents.AGENT_LATE.format(
                    alias=running.alias, seconds=f"{agents.START_WITHIN_S:g}"
                )
            )
        )
        if isinstance(running.outcome, agents.NotStarted):
            running.scope.cancel(reason="it did not start")

    async def _keep_alive(self, session_id: SessionId, command: list[str]) -> None:
        pause_s, restarts = RESTART_FIRST_S, 0
        while restarts <= RESTARTS_MAX:
            began_at = trio.current_time()
            status = await self._settings.run_agent(command, _take_nothing)
            if trio.current_time() - began_at > STABLE_S:
                pause_s, restarts = RESTART_FIRST_S, 0
            restarts += 1
            log.warning("agent.ended", session=session_id, status=status, restarts=restarts)
            await trio.sleep(pause_s * (1 + self._rng.random() / 4))
            pause_s = min(pause_s * 2, RESTART_MAX_S)
        log.error("agent.given_up", session=session_id)
        running = self._running[session_id]
        gone = about_agents.AGENT_GIVEN_UP.format(alias=running.alias, count=RESTARTS_MAX)
        await self._settings.notify(session_id, running.with_missing(gone))


async def _started_earlier(
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage],
) -> tuple[KnownSession, ...]:
    """Ask what is to run, until that is answered."""
    unknown: tuple[KnownSession, ...] | None = None
    while True:
        answer = await ask_or(
            ownership_tx,
            lambda reply: ownership.FindStarted(reply=reply),
            within_s=ASK_WITHIN_S,
            otherwise=lambda _reason: unknown,
        )
        if answer is not None:
            return answer
        log.warning("agents.not_restored_yet")
        await trio.sleep(RESTART_FIRST_S)


async def _answer(wish: agents.StartAgent, running: RunningAgent) -> None:
    with wish.reply:
        await running.settled.wait()
        wish.reply.send(running.outcome)


def _take_nothing(_line: bytes) -> None:
    """Take no report: nobody waits for one."""


def _why_not_restored(record: StartedAgent, command: AgentCommand | None) -> Text | None:
    if command is None:
        why = about_agents.NOT_CONFIGURED.format(agent=record.agent)
    else:
        cwd = directory(record.cwd)
        if cwd is not None and is_within(cwd, command):
            return None
        why = about_agents.AGENT_NO_DIRECTORY if cwd is None else about_agents.AGENT_OUTSIDE
        why = why.format(cwd=record.cwd, agent=record.agent)
    return about_agents.AGENT_NOT_BACK.format(alias=record.alias, why=why)
