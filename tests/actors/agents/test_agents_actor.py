"""Agents started from chats: how many there may be, and what does not come back."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from actors import agents
from actors.kit.mailbox import ask
from actors.messages import agents as to_agents
from actors.messages import ownership
from protocol.agents import starting
from protocol.config.settings import AgentCommand
from protocol.ids import AccountId, OpenId, SessionId
from protocol.routing.roster import KnownSession, StartedAgent
from protocol.strings import Text


class Running:
    """The actor, with agents that are ready at once and run for ever."""

    def __init__(self, tx: trio.MemorySendChannel[to_agents.AgentsMessage]) -> None:
        self.tx = tx
        self.notices: list[tuple[SessionId, str]] = []
        self.runs = 0
        self.why = ""
        """Why it ends instead of running."""

    async def run_agent(self, _command: list[str], take: Callable[[bytes], None]) -> int:
        self.runs += 1
        if self.why:
            take(starting.encode(starting.ReportFailed(self.why)))
            return 1
        take(starting.encode(starting.ReportReady("robot")))
        await trio.sleep_forever()
        return 0

    async def notify(self, session_id: SessionId, text: Text) -> None:
        await trio.lowlevel.checkpoint()
        self.notices.append((session_id, text.en))

    async def start(self, key: int, topic_of: str | None = None) -> str:
        """Return the alias of what was started, or why nothing was."""
        answer: to_agents.Started | to_agents.NotStarted = await ask(
            self.tx,
            lambda reply: to_agents.StartAgent(
                key=f"om_{key}",
                agent="fake",
                alias=None,
                cwd=None,
                by=OpenId("ou_alice"),
                topic_of=None if topic_of is None else AccountId(topic_of),
                reply=reply,
            ),
            within_s=60,
        )
        return answer.why.en if isinstance(answer, to_agents.NotStarted) else answer.alias


@asynccontextmanager
async def running(
    work: Path, *known: KnownSession, env: tuple[str, ...] = (), why: str = ""
) -> AsyncIterator[Running]:
    tx, rx = trio.open_memory_channel[to_agents.AgentsMessage](64)
    ownership_tx, ownership_rx = trio.open_memory_channel[ownership.OwnershipMessage](8)
    home = Running(tx)
    home.why = why
    command = AgentCommand(command=("fake",), cwd=str(work), env=env)
    settings = agents.AgentsSettings(
        commands={"fake": command},
        per_person=1,
        state_dir=work,
        run_agent=home.run_agent,
        notify=home.notify,
    )

    async def own() -> None:
        async for message in ownership_rx:
            assert isinstance(message, ownership.FindStarted)
            message.reply.send(known)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(own)
        nursery.start_soon(lambda: agents.run(settings, rx, ownership_tx, rng=random.Random(1)))
        yield home
        nursery.cancel_scope.cancel()


async def test_those_of_topics_count_for_each_account_and_the_others_for_each_person(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as home:
        for key in range(20):
            assert await home.start(key, "default") == "robot"
        full = "20 agents of topics run already; an admin can close one."
        assert await home.start(20, "default") == full
        assert await home.start(0, "default") == "robot", "the same one, by its message"
        assert await home.start(21, "second") == "robot"
        assert await home.start(22) == "robot"
        assert await home.start(23) == "You have 1 agents running already; close one first."


async def test_what_does_not_come_back_reports_why(tmp_path: Path) -> None:
    def started(name: str, agent: str, cwd: Path) -> KnownSession:
        record = StartedAgent(agent=agent, alias=name, cwd=str(cwd), by=OpenId("ou_alice"))
        return KnownSession(session_id=SessionId(f"s-{name}"), alias=name, started=record)

    gone = tmp_path / "gone"
    known = (
        started("one", "fake", gone),
        started("two", "other", tmp_path),
        started("three", "fake", tmp_path),
        started("four", "fake", Path("/")),
    )
    async with running(tmp_path, *known) as home:
        with trio.fail_after(60):
            while len(home.notices) < 3:
                await trio.sleep(0.01)
        outside = "/ lies outside of the directories where fake may be started."
        assert sorted(home.notices) == [
            (SessionId("s-four"), f"four did not come back: {outside}"),
            (SessionId("s-one"), f"one did not come back: {gone} is no directory."),
            (SessionId("s-two"), "two did not come back: no agent other is configured any more."),
        ]


async def test_variables_that_are_missing_are_named_in_a_failed_start_and_when_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setenv("FAKE_HOME", "/")
    for name in ("FAKE_KEY", "FAKE_URL"):
        monkeypatch.delenv(name, raising=False)
    names = "FAKE_KEY, FAKE_URL"
    without = f"\nThe daemon's environment has no {names}, which the configuration names for it."
    record = StartedAgent(
        agent="fake", alias="robot", cwd=str(tmp_path), by=OpenId("ou_alice"), topic_of=None
    )
    known = KnownSession(session_id=SessionId("s-robot"), alias="robot", started=record)
    env = ("FAKE_KEY", "FAKE_HOME", "FAKE_URL")
    async with running(tmp_path, known, env=env, why="no key") as home:
        assert await home.start(1) == "You have 1 agents running already; close one first."
        with trio.fail_after(600):  # of the clock's time
            while not home.notices:
                await trio.sleep(1)
        assert home.runs == 11
        gone = "robot ended 10 times in a row and is not started again."
        where = f"{gone} /close it, or look into larkd.log.{without}"
        assert home.notices == [(SessionId("s-robot"), where)]
        assert await home.start(1) == f"fake did not start: no key{without}"
