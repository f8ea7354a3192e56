"""``/new`` and ``/close``: agents started from a chat, and ended from one."""

from __future__ import annotations

from typing import Final

import trio

from actors.intake.answers import Answers
from actors.intake.marks import WaitingMarks
from actors.intake.peers import COMMAND_WITHIN_S, Peers
from actors.kit.mailbox import ask_or
from actors.kit.retry import Pauses, until_done, while_it_helps
from actors.messages import agents, ownership
from protocol.ids import AccountId, SessionId
from protocol.platform.events import MessageReceived
from protocol.routing import roster
from protocol.routing.roster import SessionView, StartedAgent
from protocol.strings import Text, about_agents, in_chat

PROGRESS_AT_S: Final = (8.0, 25.0, 50.0)
"""When a start that is not over is reported, in seconds since it began."""
STORED_PAUSES: Final = Pauses(first_s=0.5, max_s=5.0)
STORED_WITHIN_S: Final = 30.0
"""How long a slow journal is given to keep what was started."""


class Agents:
    def __init__(
        self, peers: Peers, answers: Answers, marks: WaitingMarks, names: tuple[str, ...]
    ) -> None:
        self._to = peers
        self._answers = answers
        self._marks = marks
        self._names = names

    async def new(self, message: MessageReceived, args: tuple[str, ...]) -> Text:
        """Start an agent, wait until it is ready, and put the chat on it.

        What is sent there meanwhile waits for it.
        """
        if not args:
            return about_agents.NEW_USAGE.format(known=", ".join(self._names) or in_chat.NOBODY)
        started = await self.start(message, args[0], *_alias_and_directory(args[1:]))
        if isinstance(started, agents.NotStarted):
            return started.why
        return about_agents.AGENT_STARTED.format(alias=started.alias)

    async def start(
        self, message: MessageReceived, agent: str, alias: str | None, cwd: str | None
    ) -> agents.Started | agents.NotStarted:
        """Start an agent for the place of a message; once it is ready, put the place on it.

        A start that takes its time shows that, by a mark at once and a line later on.
        """
        self._marks.put(message.message_id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._show_progress, message, alias or agent)
            started: agents.Started | agents.NotStarted = await ask_or(
                self._to.agents_tx,
                lambda reply: agents.StartAgent(
                    key=message.message_id,
                    agent=agent,
                    alias=alias,
                    cwd=cwd,
                    by=message.sender_id,
                    topic_of=_topic_of(message, self._to),
                    reply=reply,
                ),
                within_s=agents.START_WITHIN_S + COMMAND_WITHIN_S,
                otherwise=lambda _reason: agents.NotStarted(why=about_agents.AGENT_NOT_STARTED),
            )
            nursery.cancel_scope.cancel(reason="it is ready, or failed")
        self._marks.clear(message.message_id)
        if isinstance(started, agents.Started):
            await self._put_on(message, started)
        return started

    async def _put_on(self, message: MessageReceived, started: agents.Started) -> None:
        record = StartedAgent(
            agent=started.agent,
            alias=started.alias,
            cwd=started.cwd,
            by=message.sender_id,
            topic_of=_topic_of(message, self._to),
        )
        await self._own_until_stored(
            lambda reply: ownership.Expect(
                session_id=started.session_id, started=record, reply=reply
            )
        )
        await self._own_until_stored(
            lambda reply: ownership.Bind(
                place=self._to.place(message), session_id=started.session_id, reply=reply
            )
        )

    async def _show_progress(self, message: MessageReceived, agent: str) -> None:
        waited_s = 0.0
        for at_s in PROGRESS_AT_S:
            await trio.sleep(at_s - waited_s)
            waited_s = at_s
            line: str = await ask_or(
                self._to.agents_tx,
                lambda reply: agents.FindProgress(key=message.message_id, reply=reply),
                within_s=COMMAND_WITHIN_S,
                otherwise=lambda _reason: "",
            )
            text = about_agents.AGENT_STARTING.format(agent=agent, seconds=f"{at_s:g}")
            text = text.plus(f"\n> {line}" if line else "")
            self._answers.send(message, text, f"start {at_s:g}")

    async def close(self, args: tuple[str, ...], state: ownership.ChatState) -> Text:
        """End an agent that was started here; without a name, the one the chat is on.

        Its chats follow the channel's owner again.
        """
        found: SessionView | Text | None
        if args:
            found = roster.find(" ".join(args), state.sessions)
        else:
            here = (one for one in state.sessions if one.session.session_id == state.current)
            found = next(here, None)
        if found is None:
            return in_chat.NO_CURRENT_SESSION
        if isinstance(found, Text):
            return found
        session_id: SessionId = found.session.session_id
        is_kept = found.session.started is not None
        if is_kept:
            # First: should their actor start again now, it runs those that are kept.
            await self._remove(session_id)
        ended: bool = await ask_or(
            self._to.agents_tx,
            lambda reply: agents.EndAgent(session_id=session_id, reply=reply),
            within_s=COMMAND_WITHIN_S,
            otherwise=lambda _reason: False,
        )
        if not is_kept:
            if not ended:
                return about_agents.AGENT_NOT_OURS.format(alias=found.session.alias)
            await self._remove(session_id)
        return about_agents.AGENT_CLOSED.format(alias=found.session.alias)

    async def _remove(self, session_id: SessionId) -> None:
        await self._to.own(lambda reply: ownership.Remove(session_id=session_id, reply=reply))

    async def _own_until_stored(self, build: ownership.BuildStored) -> None:
        """The agent runs already: what is not stored would be gone with the daemon."""
        await while_it_helps(
            lambda: self._to.own(build), until_done(STORED_PAUSES, STORED_WITHIN_S)
        )


def _alias_and_directory(args: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Either may be left out: no alias begins as a path does. A path may have spaces in it."""
    named = args[:1] if args and not args[0].startswith(("/", "~")) else ()
    return next(iter(named), None), " ".join(args[len(named) :]) or None


def _topic_of(message: MessageReceived, peers: Peers) -> AccountId | None:
    return None if message.topic is None else peers.account
