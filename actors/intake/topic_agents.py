"""The agent that the first message of a topic starts, where one is configured for that.

Part of the intake. Until it is ready, or has failed, the prompts of the topic wait; where
it fails, they go where the chat's go.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import structlog
import trio

from actors.intake.agents import Agents
from actors.intake.answers import Answers
from actors.intake.peers import COMMAND_WITHIN_S, Peers
from actors.messages import agents, intake, journal
from protocol.ids import PlaceKey, RowId
from protocol.platform.events import MessageReceived

SETTLED_MAX: Final = 4_096
"""Topics known to have had their first message."""

log = structlog.get_logger()


class TopicAgents:
    def __init__(
        self,
        peers: Peers,
        answers: Answers,
        starter: Agents,
        nursery: trio.Nursery,
        *,
        agent: str | None,
    ) -> None:
        self._to = peers
        self._answers = answers
        self._agents = starter
        self._nursery = nursery
        self._agent = agent
        self._starting: set[PlaceKey] = set()
        self._settled: OrderedDict[PlaceKey, None] = OrderedDict()

    def wanted(self, message: MessageReceived) -> bool:
        """Whether this prompt may be the first of its topic, and so has to wait."""
        place = self._to.place(message)
        return (
            self._agent is not None
            and message.topic is not None
            and place not in self._starting
            and place not in self._settled
        )

    def start(self, row_id: RowId, message: MessageReceived) -> None:
        """Look whether it is the first, and start the agent; then :class:`intake.CommandDone`."""
        self._starting.add(self._to.place(message))
        self._nursery.start_soon(self._start, row_id, message)

    async def _start(self, row_id: RowId, message: MessageReceived) -> None:
        place = self._to.place(message)
        first = await self._is_first(row_id, message)
        if first and self._agent is not None:
            started = await self._agents.start(message, self._agent, None, None)
            if isinstance(started, agents.NotStarted):
                self._answers.send(message, started.why, "topic agent")
        if first is not None:
            self._settled[place] = None
            if len(self._settled) > SETTLED_MAX:
                self._settled.popitem(last=False)
        self._starting.discard(place)
        await self._to.intake_tx.send(intake.CommandDone(row_id=row_id, place=place))

    async def _is_first(self, row_id: RowId, message: MessageReceived) -> bool | None:
        """None: nobody knows at this moment. A topic that was put on a session is begun."""
        state = await self._to.look_up(self._to.place(message))
        if state is None or state.bound or message.topic is None:
            return None if state is None else False
        topic = message.topic
        had: bool | journal.Failed = await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.TopicHad(
                account=self._to.account, topic=topic, before_row=row_id, reply=reply
            ),
            within_s=COMMAND_WITHIN_S,
        )
        if isinstance(had, journal.Failed):
            log.error("journal.failed", reason=had.reason)
            return None
        return not had
