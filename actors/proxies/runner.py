"""The agent of a session: started, given its turns one by one, and started again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from actors.kit.plain import LINES, plain
from actors.proxies.agent import CANCEL_WITHIN_S, Agent, AgentSettings, Listener
from actors.proxies.agent_process import AgentNotStarted, start_agent
from actors.proxies.agent_session import EndedResuming, FindEarlier, SessionBegun
from actors.proxies.attachments import FETCHED, fetched
from actors.proxies.client import Proxy, ProxyTurn
from actors.proxies.conversations import Conversations
from actors.proxies.errors import AgentFailed, AgentUnheard, Disconnected, StartFailed
from actors.proxies.prompt_blocks import prompt_blocks
from protocol.agents import acp, acp_sessions, starting
from protocol.wire import messages as wire

LEAVE_WITHIN_S: Final = 0.5
ERROR_CHARACTERS_MAX: Final = 500
"""Of what is answered to a request of people."""
OWN_QUIET_S: Final = 3.0
"""A turn of the agent's own has ended when it reported nothing for so long."""


class Runner:
    """Answers turns one by one, with an agent that runs."""

    def __init__(
        self,
        settings: AgentSettings,
        nursery: trio.Nursery,
        conversations: Conversations,
        inside: Mapping[str, str],
    ) -> None:
        self._settings = settings
        self._inside = inside
        self._conversations = conversations
        self._nursery = nursery
        self._agent: Agent | None = None
        self._starting: trio.Event | None = None
        self._first_start = trio.Event()
        """It succeeded so far as it can before the session attaches, or failed."""
        self._first_scope = trio.CancelScope()
        self._failure: StartFailed | None = None
        self._proxy: Proxy | None = None
        self._own: ProxyTurn | None = None
        self._at_work = False
        self._resuming: trio.Event | None = None
        """While another conversation is resumed: no prompt is given meanwhile."""
        self._chosen: dict[str, str] = {}
        self._last_words: list[str] = []
        self.wrote: Callable[[str], None] = lambda _line: None
        """Called with what the agent writes on its standard error."""

    def _agent_wrote(self, line: str) -> None:
        self.wrote(line)

    async def start(self) -> StartFailed | None:
        """Start the agent before the session attaches; return why it could not be started.

        Where only the daemon knows which conversation is to be brought back, it is started
        once it has answered ``initialize``.
        """
        self._nursery.start_soon(self._start_first)
        with trio.move_on_after(starting.WITHIN_S):
            await self._first_start.wait()
            return self._failure
        self._first_scope.cancel(reason="it takes too long")
        await self._first_start.wait()  # its process has ended then, within seconds
        late = f"the agent was not ready in {starting.WITHIN_S:g} s"
        return StartFailed("\n".join((late, *self._last_words)))

    async def _start_first(self) -> None:
        try:
            with self._first_scope:
                await self._running_agent()
        except AgentFailed as failed:
            self._failure = StartFailed(str(failed), failed.remedy)
        except AgentNotStarted as failed:
            self._failure = StartFailed(str(failed))
        finally:
            self._first_start.set()

    async def _find_earlier(self) -> str:
        """Return the conversation to bring back, once the daemon has answered which."""
        if not self._conversations.known.is_set():
            self._first_start.set()
            await self._conversations.known.wait()
        return self._conversations.earlier

    async def attach(self, proxy: Proxy) -> None:
        """Start the agent before anybody asks, and set what people choose of it."""
        self._proxy = proxy
        self._conversations.send = proxy.note
        self._offer()  # it may run already: what is offered goes out with the registration
        try:
            await self._running_agent()
        except (AgentFailed, AgentNotStarted) as failed:
            # It is tried again with the first turn, which shows it in the chat.
            sys.stderr.write(f"larkd acp: {plain(str(failed), LINES)}\n")
            proxy.offer(wire.OptionsOffer())
        async for request in proxy.requests:
            match request:
                case wire.Choose():
                    proxy.answer(await self._choose(request))
                case wire.Resume():
                    proxy.answer(await self._resume(request))
            self._offer()

    async def _choose(self, choose: wire.Choose) -> wire.Chosen:
        try:
            await (await self._running_agent()).choose(choose.option, choose.choice)
        except (AgentFailed, AgentNotStarted, ValueError) as failed:
            return wire.Chosen(n=choose.n, ok=False, error=str(failed)[:ERROR_CHARACTERS_MAX])
        self._chosen[choose.option] = choose.choice
        return wire.Chosen(n=choose.n, ok=True)

    async def _choose_again(self, agent: Agent) -> None:
        """What people chose holds also where the agent, or its session, began anew."""
        for option in agent.session.options.offer().options:
            choice = self._chosen.get(option.id, option.value)
            if choice != option.value:
                try:
                    await agent.choose(option.id, choice)
                except (AgentFailed, ValueError) as failed:
                    sys.stderr.write(plain(f"larkd acp: {option.name}: {failed}") + "\n")

    async def _resume(self, wish: wire.Resume) -> wire.Resumed:
        """List earlier conversations, or go over to one."""
        try:
            agent = await self._running_agent()
            if wish.conversation is None:
                return listed(wish.n, await agent.session.earlier())
            if self._at_work:
                raise AgentFailed("it is at work; stop that first")
            await self._take_up(agent, wish.conversation)
        except (AgentFailed, AgentNotStarted) as failed:
            return wire.Resumed(n=wish.n, ok=False, error=str(failed)[:ERROR_CHARACTERS_MAX])
        self._conversations.resumed(wish.conversation)
        return wire.Resumed(n=wish.n, ok=True)

    def _offer(self) -> None:
        if self._proxy is not None and self._agent is not None:
            self._proxy.offer(self._agent.session.options.offer())

    async def _take_up(self, agent: Agent, conversation_id: str) -> None:
        # No checkpoint from the look at the work to the mark.
        over = self._resuming = trio.Event()
        try:
            if self._own is not None:
                await self._end_own_turn(self._own, agent)
            await agent.session.resume(conversation_id)
            await self._choose_again(agent)
        finally:
            self._resuming = None
            over.set()

    async def _open_own_turn(self) -> Listener | None:
        """The agent goes on by itself: show that in a turn of its own."""
        agent = self._agent
        if self._proxy is None or agent is None:
            return None
        try:
            turn = await self._proxy.open_turn()
        except Disconnected:
            return None
        self._own = turn
        self._nursery.start_soon(self._watch_own_turn, turn, agent)
        return _listener(turn)

    async def _watch_own_turn(self, turn: ProxyTurn, agent: Agent) -> None:
        """End it once the agent is quiet, or when it is cancelled."""
        with turn.interruption():
            while (quiet_at := agent.quiet_since + OWN_QUIET_S) > trio.current_time():  # noqa: ASYNC110  # until it is quiet
                await trio.sleep_until(quiet_at)
        if turn.cancel_reason is not None and not turn.lost:
            await agent.interrupt()
        await self._end_own_turn(turn, agent)

    async def _end_own_turn(self, turn: ProxyTurn, agent: Agent) -> None:
        if self._own is turn:
            self._own = None
            agent.end_own_turn()
        aborted = turn.cancel_reason is not None
        with suppress(Disconnected):
            await turn.end("aborted" if aborted else "complete")

    async def answer(self, turn: ProxyTurn) -> None:
        if self._own is not None and self._agent is not None:
            # What it reports from now on is of the prompt.
            await self._end_own_turn(self._own, self._agent)
        async with turn:
            ending = await self._answer(turn)
            await self._end(turn, ending)

    async def _answer(self, turn: ProxyTurn) -> acp.Ending:
        deliver = turn.deliver
        if self._proxy is not None:
            deliver = await fetched(self._proxy, deliver, Path(self._settings.cwd) / FETCHED)
        try:
            try:
                return await self._prompt(turn, deliver)
            except AgentUnheard:
                # It died between two prompts, and nobody had noticed. Once: a prompt that
                # kills its agent is no reason to kill the next one.
                return await self._prompt(turn, deliver)
        except (AgentFailed, AgentNotStarted) as failed:
            return acp.Ending(status="error", error=str(failed))

    async def _prompt(self, turn: ProxyTurn, deliver: wire.Deliver) -> acp.Ending:
        agent = await self._running_agent()
        blocks = await prompt_blocks(deliver, self._settings.cwd, agent.session.abilities)
        if self._resuming is not None:
            await self._resuming.wait()
        self._at_work = True
        try:
            self._conversations.used(turn.deliver.content)
            return await agent.prompt(
                blocks,
                _listener(turn),
                # A person who stops it may go on with the agent; who leaves does not.
                lambda: CANCEL_WITHIN_S if turn.cancel_reason == "user" else LEAVE_WITHIN_S,
            )
        finally:
            self._at_work = False

    async def _end(self, turn: ProxyTurn, ending: acp.Ending) -> None:
        try:
            await turn.end(ending.status, error=ending.error)
        except Disconnected:
            return  # the daemon has ended it as lost

    async def _running_agent(self) -> Agent:
        """Return a running agent: this one, or the next.

        Raises:
            AgentNotStarted, AgentFailed: there is none.
        """
        while self._starting is not None:
            await self._starting.wait()
        if self._agent is not None and not self._agent.over.is_set():
            return self._agent
        # No checkpoint from the look to the mark: one start at a time.
        started = self._starting = trio.Event()
        try:
            self._agent = None
            self._agent, begun = await self._start_agent()
        finally:
            self._starting = None
            started.set()
        self._conversations.began(self._agent.session.id, begun)
        self._agent.options_changed = self._offer
        self._agent.titled = self._conversations.titled
        self._offer()
        return self._agent

    async def _start_agent(self) -> tuple[Agent, SessionBegun]:
        try:
            agent, begun = await self._nursery.start(self._run_agent, self._find_earlier)
        except EndedResuming as ended:
            agent, _ = await self._nursery.start(self._run_agent, _nothing_earlier)
            begun = SessionBegun(why_not=str(ended))
        return agent, begun

    async def _run_agent(
        self, find_earlier: FindEarlier, *, task_status: trio.TaskStatus[tuple[Agent, SessionBegun]]
    ) -> None:
        process = await start_agent(
            self._settings.command,
            self._settings.cwd,
            self._settings.extra_environment,
            os.environ,
            self._inside,
        )
        process.wrote = self._agent_wrote
        failure: AgentFailed | None = None
        try:
            async with trio.open_nursery() as nursery:
                agent = Agent(self._settings, process, nursery, self._open_own_turn)
                nursery.start_soon(process.read_stderr)
                nursery.start_soon(agent.read)
                try:
                    begun = await agent.begin(find_earlier)
                    await self._choose_again(agent)
                except AgentFailed as refused:
                    failure = refused
                else:
                    task_status.started((agent, begun))
                    await agent.over.wait()
                    await agent.settle()
                nursery.cancel_scope.cancel(reason="the agent is over")
        finally:
            self._last_words = process.tail()
            await process.end()  # noqa: ASYNC102  # it shields itself, with a deadline
        if failure is not None:
            raise failure


async def _nothing_earlier() -> str:
    await trio.lowlevel.checkpoint()
    return ""


def listed(n: int, found: list[acp_sessions.Listed] | None) -> wire.Resumed:
    """Answer what the agent lists; None: it lists none, and the daemon goes by its own record."""
    if found is None:
        return wire.Resumed(n=n, ok=True)
    earlier = [
        wire.EarlierConversation(id=one.id, title=one.title, used_at=one.used_at_ms)
        for one in found
    ]
    return wire.Resumed(n=n, ok=True, conversations=earlier)


def _listener(turn: ProxyTurn) -> Listener:
    return Listener(
        turn_id=turn.deliver.turn_id,
        update=turn.send_message,
        question=lambda question: turn.ask_permission(
            question.title, question.options, detail=question.detail
        ),
        elicit=turn.elicit,
    )
