"""The parts of one account's intake, each made of those before it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import trio

from actors.intake.agents import Agents
from actors.intake.answers import Answers
from actors.intake.attachments import Fetcher
from actors.intake.commands import Commands
from actors.intake.control import Control
from actors.intake.marks import WaitingMarks
from actors.intake.pairing import Pairing
from actors.intake.peers import Peers
from actors.intake.presses import Presses
from actors.intake.prompts import Prompts
from actors.intake.reading import Reading
from actors.intake.settings import IntakeSettings
from actors.intake.stop import Stopper
from actors.intake.topic_agents import TopicAgents
from actors.intake.topics import Topics


class Parts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Used by the intake's loop, and in the tasks it starts."""

    pairing: Pairing
    stopper: Stopper
    presses: Presses
    marks: WaitingMarks
    commands: Commands
    control: Control
    prompts: Prompts
    topics: Topics
    topic_agents: TopicAgents
    reading: Reading

    @property
    def full(self) -> bool:
        """Whether one more row has to stay in the journal until some here are through."""
        return self.prompts.full or self.control.full


def parts_of(
    settings: IntakeSettings, peers: Peers, nursery: trio.Nursery, now_ms: Callable[[], int]
) -> Parts:
    answers = Answers(nursery, peers.gateway_tx, settings.language)
    pairing = Pairing(
        settings.account,
        settings.policy,
        peers,
        answers,
        now_ms=now_ms,
        mint=settings.mint_code,
    )
    stopper = Stopper(peers, answers, lambda: pairing.policy)
    marks = WaitingMarks(peers, answers, nursery)
    starter = Agents(peers, answers, marks, settings.agents)
    return Parts(
        pairing=pairing,
        stopper=stopper,
        presses=Presses(peers, stopper, lambda: pairing.policy, nursery, now_ms),
        marks=marks,
        commands=Commands(
            peers,
            stopper,
            marks,
            starter,
            reply_mode=settings.session_reply_mode,
            now_ms=now_ms,
        ),
        control=Control(peers, answers, nursery, now_ms),
        prompts=Prompts(
            peers,
            answers,
            marks,
            agents=settings.agents,
            fetcher=Fetcher(peers, settings.attachments),
            nursery=nursery,
            now_ms=now_ms,
        ),
        topics=Topics(peers, nursery, everywhere=settings.topic_sessions, now_ms=now_ms),
        topic_agents=TopicAgents(peers, answers, starter, nursery, agent=settings.topic_agent),
        reading=Reading(),
    )
