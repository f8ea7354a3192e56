"""``larkd acp -- COMMAND…``: any agent that speaks the Agent Client Protocol.

It starts the agent, attaches a session to the daemon and has the agent answer its turns. An
agent that ended is started again; where it can, it resumes its session. It ends with this
process, its whole group.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from typing import Final

import msgspec
import trio

from actors.kit.leaving import receive_leaving_signals
from actors.kit.plain import LINES, plain
from actors.proxies.agent import AgentSettings
from actors.proxies.client import LinkChanged, open_proxy
from actors.proxies.conversations import Conversations, OldRecord
from actors.proxies.errors import ProxyError, Replaced, SessionRefused, StandingBy, StartFailed
from actors.proxies.reporting import LinkReporter
from actors.proxies.runner import Runner
from actors.proxies.settings import ProxySettings, inside_environment
from protocol.agents import starting
from protocol.wire import messages as wire

PARENT_EVERY_S: Final = 1.0
PROGRESS_EVERY_S: Final = 1.0


class AcpSettings(msgspec.Struct, frozen=True, kw_only=True):
    proxy: ProxySettings
    agent: AgentSettings
    parent: int | None = None
    """The process to end with. It names itself who that is: when this one gets to ask for its
    parent, that may have been killed already."""
    reports_start: bool = False
    """Whether who started it waits for its report: the agent is started before the session
    registers, so that no prompt is taken that is not served."""
    starts_first: bool = False
    """Whether a person started it, who is shown why the agent does not start: no session is
    registered then, either. Without both, a start that fails is tried again with each turn."""
    is_new: bool = False
    """Whether the session has an id that the daemon can't know: it has no conversation."""


async def serve(settings: AcpSettings) -> None:
    """Serve until cancelled, or until the session ended for good.

    Raises:
        ProxyError: why it ended.
    """
    failure: ProxyError | None = None
    async with trio.open_nursery() as nursery:
        old = OldRecord(settings.proxy, settings.agent.cwd, settings.agent.command)
        conversations = Conversations(old, LinkReporter("larkd acp"))
        inside = inside_environment(settings.proxy, os.environ)
        runner = Runner(settings.agent, nursery, conversations, inside)
        link_changed: LinkChanged = conversations
        if settings.reports_start or settings.is_new:
            conversations.none_earlier()
        if settings.starts_first:
            failure = _of_command(settings.agent.command, await runner.start())
        if settings.reports_start:
            runner.wrote = ProgressReporter()
            failure = await runner.start()
            runner.wrote = lambda _line: None
            link_changed = StartReporter(link_changed)
        if failure is None:
            async with open_proxy(settings.proxy, link_changed=link_changed) as proxy:
                async with trio.open_nursery() as beside:
                    beside.start_soon(runner.attach, proxy)
                    async for turn in proxy.turns():
                        await runner.answer(turn)
                    beside.cancel_scope.cancel(reason="the session ended")
                failure = proxy.ended
        elif settings.reports_start:
            _report(starting.ReportFailed(str(failure)))
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
            _report(starting.ReportReady(registered.alias))
        elif isinstance(why, SessionRefused) and not isinstance(why, StandingBy):
            self._reported = True
            _report(starting.ReportFailed(str(why)))


class ProgressReporter:
    """Reports what the agent writes while it starts, a line a second at most."""

    def __init__(self) -> None:
        self._next_at = trio.current_time()

    def __call__(self, line: str) -> None:
        if trio.current_time() >= self._next_at:
            self._next_at = trio.current_time() + PROGRESS_EVERY_S
            _report(starting.Progress(line))


def _report(report: starting.Report) -> None:
    with suppress(OSError):  # nobody reads it any more
        sys.stdout.buffer.write(starting.encode(report))
        sys.stdout.buffer.flush()


async def run(settings: AcpSettings) -> int:
    """Serve until a signal, the parent's end, or the session's; return the exit status."""
    failure: ProxyError | None = None
    with receive_leaving_signals() as signals:
        async with trio.open_nursery() as nursery:

            async def leave_on_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel(reason="signal")
                    return

            async def leave_with_parent(pid: int) -> None:
                await _ended(pid)
                nursery.cancel_scope.cancel(reason="the parent is dead")

            nursery.start_soon(leave_on_signal)
            if settings.parent is not None:
                nursery.start_soon(leave_with_parent, settings.parent)
            try:
                await serve(settings)
            except* ProxyError as group:
                failure = _first(group)
            nursery.cancel_scope.cancel(reason="done")
    if failure is None:
        return 0
    if isinstance(failure, Replaced):
        return 1  # which was reported as it came
    sys.stderr.write(f"larkd acp: {plain(str(failure), LINES)}\n")
    return 1


async def _ended(parent: int) -> None:
    """Wait for the end of the process that started this one.

    At once where the system notifies of it: the next daemon may be there a moment later, and
    would give its rows to a session that is about to leave.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # it has ended already
            descriptor = os.pidfd_open(parent)
            try:
                if os.getppid() == parent:
                    await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
    while os.getppid() == parent:  # noqa: ASYNC110  # nothing notifies of it
        await trio.sleep(PARENT_EVERY_S)


def _of_command(command: tuple[str, ...], why: StartFailed | None) -> StartFailed | None:
    """Name the command that a person gave, and what there is to do."""
    if why is None:
        return None
    text = f"{shlex.join(command)} did not start, and nothing is attached: {why}"
    return StartFailed("\n".join(filter(None, (text, why.remedy))))


def _first(group: BaseExceptionGroup[ProxyError]) -> ProxyError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
