"""``larkd acp -- COMMAND…``: any agent that speaks the Agent Client Protocol.

It attaches a session to the daemon and has the agent answer its turns. The agent is
started with the first turn and started again when it ended; where it can, it resumes its
session. It ends with this process, its whole group.
"""

from __future__ import annotations

import base64
import mimetypes
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import trio

from actors.proxies.agent import CANCEL_WITHIN_S, Agent, AgentFailed, AgentSettings, Listener
from actors.proxies.agent_process import AgentNotStarted, start_agent
from actors.proxies.client import LinkChanged, Proxy, Turn, open_proxy
from actors.proxies.conversations import Conversations
from actors.proxies.errors import Disconnected, ProxyError, Refused, StandingBy, StartFailed
from actors.proxies.reporting import LinkReporter
from actors.proxies.settings import ProxySettings, inside_environment
from protocol.agents import acp, starting
from protocol.wire import messages as wire

PICTURE_BYTES_MAX: Final = 5 * 1024 * 1024
PARENT_EVERY_S: Final = 1.0
LEAVE_WITHIN_S: Final = 0.5
OWN_QUIET_S: Final = 3.0
"""A turn of the agent's own has ended when it reported nothing for so long."""


class AcpSettings(msgspec.Struct, frozen=True, kw_only=True):
    proxy: ProxySettings
    agent: AgentSettings
    ends_with_parent: bool = False
    reports_start: bool = False
    """Whether who started it waits for its report: the agent is started before the session
    registers, so that no prompt is taken that is not served. Without it, a start that fails is
    tried again with each turn."""


async def serve(settings: AcpSettings) -> None:
    """Serve until cancelled, or until the session ended for good.

    Raises:
        ProxyError: why it ended.
    """
    failure: ProxyError | None = None
    async with trio.open_nursery() as nursery:
        conversations = Conversations(settings.proxy, settings.agent.cwd, settings.agent.command)
        inside = inside_environment(settings.proxy, os.environ)
        runner = _Runner(settings.agent, nursery, conversations, inside)
        link_changed: LinkChanged = LinkReporter("larkd acp")
        if settings.reports_start:
            failure = await runner.start()
            link_changed = StartReporter(link_changed)
        if failure is None:
            async with open_proxy(settings.proxy, link_changed=link_changed) as proxy:
                async with trio.open_nursery() as beside:
                    beside.start_soon(runner.attach, proxy)
                    async for turn in proxy.turns():
                        await runner.answer(turn)
                    beside.cancel_scope.cancel(reason="the session ended")
                failure = proxy.ended
        else:
            _report(starting.Failed(str(failure)))
        nursery.cancel_scope.cancel(reason="the session ended")
    if failure is not None:
        raise failure


class StartReporter:
    """Reports the first registration, or that it is refused, to who started this process."""

    def __init__(self, beside: LinkChanged) -> None:
        self._beside = beside
        self._reported = False

    def __call__(self, registered: wire.Registered | None, why: ProxyError | None) -> None:
        self._beside(registered, why)
        if self._reported:
            return
        if registered is not None:
            self._reported = True
            _report(starting.Ready(registered.alias))
        elif isinstance(why, Refused) and not isinstance(why, StandingBy):
            self._reported = True
            _report(starting.Failed(str(why)))


def _report(report: starting.Report) -> None:
    with suppress(OSError):  # nobody reads it any more
        sys.stdout.buffer.write(starting.encode(report))
        sys.stdout.buffer.flush()


class _Runner:
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


async def run(settings: AcpSettings) -> int:
    """Serve until a signal, the parent's end, or the session's; return the exit status."""
    failure: ProxyError | None = None
    parent = os.getppid()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:

            async def leave_on_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel(reason="signal")
                    return

            async def leave_with_parent() -> None:
                while os.getppid() == parent:  # noqa: ASYNC110  # nothing notifies of it
                    await trio.sleep(PARENT_EVERY_S)
                nursery.cancel_scope.cancel(reason="the parent is dead")

            nursery.start_soon(leave_on_signal)
            if settings.ends_with_parent:
                nursery.start_soon(leave_with_parent)
            try:
                await serve(settings)
            except* ProxyError as group:
                failure = _first(group)
            nursery.cancel_scope.cancel(reason="done")
    if failure is None:
        return 0
    sys.stderr.write(f"larkd acp: {failure}\n")
    return 1


def _first(group: BaseExceptionGroup[ProxyError]) -> ProxyError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
