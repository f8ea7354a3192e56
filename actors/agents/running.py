"""One agent that is to run: how its start went."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import trio

from actors.messages import agents
from protocol.config.settings import AgentCommand
from protocol.ids import SessionId
from protocol.quoted import quoted
from protocol.routing.roster import StartedAgent
from protocol.strings import Text, about_agents

LINES_MAX: Final = 10
"""Of the agent's own words, below why it did not start."""
LINE_CHARACTERS_MAX: Final = 300


class RunningAgent:
    def __init__(self, record: StartedAgent, key: str = "") -> None:
        self.by = record.by
        self.topic_of = record.topic_of
        self.agent = record.agent
        self.alias = record.alias
        self.cwd = record.cwd
        self.key = key
        self.missing: tuple[str, ...] = ()
        """Variables that the configuration names and our environment has not."""
        self.line = ""
        """The last that the agent wrote while it started."""
        self.scope = trio.CancelScope()
        self.settled = trio.Event()
        self.outcome: agents.Started | agents.NotStarted = agents.NotStarted(
            why=about_agents.AGENT_NOT_STARTED
        )

    def started(self, session_id: SessionId) -> agents.Started:
        return agents.Started(
            session_id=session_id, agent=self.agent, alias=self.alias, cwd=self.cwd
        )

    def failed(self, why: str) -> Text:
        """Return the answer to who wanted it started, the agent's own words as quoted lines."""
        lines = [shown for line in why.splitlines() if (shown := quoted(line, LINE_CHARACTERS_MAX))]
        first, *more = lines[: LINES_MAX + 1] or ["?"]
        text = about_agents.AGENT_FAILED.format(alias=self.alias, why=first)
        return self.with_missing(text.plus("".join(f"\n> {line}" for line in more)))

    def with_missing(self, text: Text) -> Text:
        """Name below *text* the variables that it runs without."""
        if not self.missing:
            return text
        names = ", ".join(self.missing)
        return text.joined(about_agents.AGENT_ENVIRONMENT.format(names=names))

    def settle(self, outcome: agents.Started | agents.NotStarted) -> None:
        """Its start went so; the first outcome stands."""
        if not self.settled.is_set():
            self.outcome = outcome
            self.settled.set()

    def arguments(
        self, session_id: SessionId, command: AgentCommand, state_dir: Path, *, first: bool = False
    ) -> list[str]:
        """Return the command line of its child, which reports how its *first* start goes."""
        return [
            *(sys.executable, "-m", "actors.cli", "acp", f"--exit-with-parent={os.getpid()}"),
            # Each in one word: what people wrote is never read as an option.
            f"--state-dir={os.fspath(state_dir)}",
            f"--session-id={session_id}",
            f"--alias={self.alias}",
            "--role=session",
            f"--cwd={self.cwd}",
            f"--fs={command.fs}",
            *(f"--env={name}" for name in command.env if name in os.environ),
            *(("--report-start",) if first else ()),
            *("--", *command.command),
        ]
