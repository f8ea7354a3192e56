"""The agent behind a session: started, given its turns one by one, and started again."""

from __future__ import annotations

import base64
import mimetypes
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from actors.proxies.agent import CANCEL_WITHIN_S, Agent, AgentFailed, AgentSettings, Listener
from actors.proxies.agent_process import AgentNotStarted, start_agent
from actors.proxies.client import Proxy, Turn
from actors.proxies.conversations import Conversations
from actors.proxies.errors import Disconnected, StartFailed
from protocol.agents import acp, starting
from protocol.wire import messages as wire

PICTURE_BYTES_MAX: Final = 5 * 1024 * 1024
LEAVE_WITHIN_S: Final = 0.5
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
        self._proxy: Proxy | None = None
        self._own: Turn | None = None
        self._session_id = conversations.last()
        self._last_words: list[str] = []

    async def start(self) -> StartFailed | None:
        """Start the agent before the session attaches; return why it could not be started."""
        with trio.move_on_after(starting.WITHIN_S):
            try:
                await self._running_agent()
            except (AgentFailed, AgentNotStarted) as failed:
                return StartFailed(str(failed))
            return None
        late = f"the agent was not ready in {starting.WITHIN_S:g} s"
        return StartFailed("\n".join((late, *self._last_words)))

    async def attach(self, proxy: Proxy) -> None:
        """Start the agent before anybody asks, and set what people choose of it."""
        self._proxy = proxy
        try:
            await self._running_agent()
        except (AgentFailed, AgentNotStarted) as failed:
            # It is tried again with the first turn, which says so in the chat.
            sys.stderr.write(f"larkd acp: {failed}\n")
            proxy.offer(wire.Offer())
        async for choose in proxy.choices:
            proxy.chosen(await self._choose(choose))
            self._offer()

    async def _choose(self, choose: wire.Choose) -> wire.Chosen:
        try:
            await (await self._running_agent()).choose(choose.option, choose.choice)
        except (AgentFailed, AgentNotStarted, ValueError) as failed:
            return wire.Chosen(n=choose.n, ok=False, error=str(failed)[:500])
        return wire.Chosen(n=choose.n, ok=True)

    def _offer(self) -> None:
        if self._proxy is not None and self._agent is not None:
            self._proxy.offer(self._agent.options.offer())

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

    async def _watch_own_turn(self, turn: Turn, agent: Agent) -> None:
        """End it once the agent is quiet, or when it is cancelled."""
        with turn.interruption():
            while (quiet_at := agent.quiet_since + OWN_QUIET_S) > trio.current_time():  # noqa: ASYNC110  # until it is quiet
                await trio.sleep_until(quiet_at)
        if turn.cancel_reason is not None and not turn.lost:
            await agent.interrupt()
        await self._end_own_turn(turn, agent)

    async def _end_own_turn(self, turn: Turn, agent: Agent) -> None:
        if self._own is turn:
            self._own = None
            agent.end_own_turn()
        aborted = turn.cancel_reason is not None
        with suppress(Disconnected):
            await turn.end("aborted" if aborted else "complete")

    async def answer(self, turn: Turn) -> None:
        if self._own is not None and self._agent is not None:
            # What it reports from now on is of the prompt.
            await self._end_own_turn(self._own, self._agent)
        async with turn:
            ending = await self._answer(turn)
            await self._end(turn, ending)

    async def _answer(self, turn: Turn) -> acp.Ending:
        try:
            agent = await self._running_agent()
            blocks = await _blocks(turn.deliver, pictures_wanted=agent.abilities.images)
            return await agent.prompt(
                blocks,
                _listener(turn),
                # A person who stops it may go on with the agent; who leaves does not.
                lambda: CANCEL_WITHIN_S if turn.cancel_reason == "user" else LEAVE_WITHIN_S,
            )
        except (AgentFailed, AgentNotStarted) as failed:
            return acp.Ending(status="error", error=str(failed))

    async def _end(self, turn: Turn, ending: acp.Ending) -> None:
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
            self._agent = await self._nursery.start(self._run_agent)
        finally:
            self._starting = None
            started.set()
        self._session_id = self._agent.session_id
        self._conversations.note(self._session_id)
        self._agent.options_changed = self._offer
        self._offer()
        return self._agent

    async def _run_agent(self, *, task_status: trio.TaskStatus[Agent]) -> None:
        process = await start_agent(
            self._settings.command,
            self._settings.cwd,
            self._settings.extra_environment,
            os.environ,
            self._inside,
        )
        failure: AgentFailed | None = None
        try:
            async with trio.open_nursery() as nursery:
                agent = Agent(self._settings, process, nursery, self._open_own_turn)
                nursery.start_soon(process.read_stderr)
                nursery.start_soon(agent.read)
                try:
                    await agent.begin(self._session_id)
                except AgentFailed as refused:
                    failure = refused
                else:
                    task_status.started(agent)
                    await agent.over.wait()
                    await agent.settle()
                nursery.cancel_scope.cancel(reason="the agent is over")
        finally:
            self._last_words = process.tail()
            await process.end()  # noqa: ASYNC102  # it shields itself, with a deadline
        if failure is not None:
            raise failure


def _listener(turn: Turn) -> Listener:
    return Listener(
        turn_id=turn.deliver.turn_id,
        update=turn.send_message,
        question=lambda question: turn.ask_permission(
            question.title, question.options, detail=question.detail
        ),
    )


async def _blocks(deliver: wire.Deliver, *, pictures_wanted: bool) -> list[dict[str, object]]:
    pictures: dict[int, acp.Picture] = {}
    links: list[tuple[str, str]] = []
    for at, attachment in enumerate(deliver.attachments):
        if attachment.path is None:
            continue
        path = Path(attachment.path)
        if attachment.kind == "image" and pictures_wanted:
            picture = await trio.to_thread.run_sync(_picture, path)
            if picture is not None:
                pictures[at] = picture
                continue
        links.append((attachment.name, path.as_uri()))
    return acp.prompt(deliver, pictures, links)


def _picture(path: Path) -> acp.Picture | None:
    try:
        with path.open("rb") as file:
            data = file.read(PICTURE_BYTES_MAX + 1)
    except OSError:
        return None
    if len(data) > PICTURE_BYTES_MAX:
        return None
    mime_type = _mime_type(data) or mimetypes.guess_type(path.name)[0] or "image/png"
    return acp.Picture(mime_type=mime_type, base64=base64.b64encode(data).decode())


def _mime_type(data: bytes) -> str | None:
    for start, mime_type in (
        (b"\x89PNG", "image/png"),
        (b"\xff\xd8", "image/jpeg"),
        (b"GIF8", "image/gif"),
    ):
        if data.startswith(start):
            return mime_type
    return "image/webp" if data[8:12] == b"WEBP" else None
