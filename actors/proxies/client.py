"""The typed client that proxies are written with.

:func:`open_proxy` keeps one session attached to the daemon, through restarts of it,
and gives its turns one after another::

    async with open_proxy(settings) as proxy:
        async for turn in proxy.turns():
            async with turn:                      # acked; the daemon's cancel ends it
                await turn.send("Hello ")
                await turn.send("world")
            # left without an end it is complete; with an exception it is an error

How it works: one task keeps a link to the daemon for as long as the proxy is open.
Each run of the link has a reader and a writer; what is sent waits in a bounded
queue, so that a slow daemon slows the agent, and nothing is ever sent twice.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import msgspec
import trio

from actors.kit.services import open_service_nursery
from actors.kit.tls import CertificateUnusable
from actors.proxies.endpoint import Endpoint, Route, connect
from actors.proxies.errors import (
    DaemonNotRunning,
    Disconnected,
    NotTheDaemon,
    ProxyError,
    Replaced,
    SessionRefused,
    StandingBy,
    ToolCallFailed,
)
from actors.proxies.link import ANSWER_WITHIN_S, DaemonLink
from actors.proxies.pauses import Round, RoundPauses
from actors.proxies.settings import ProxySettings
from actors.proxies.turn import ProxyTurn
from protocol.wire import messages as wire

__all__ = [
    "DaemonNotRunning",
    "Disconnected",
    "NotTheDaemon",
    "Proxy",
    "ProxyError",
    "ProxySettings",
    "ProxyTurn",
    "Replaced",
    "SessionRefused",
    "ToolCallFailed",
    "open_proxy",
]

REQUESTS_MAX: Final = 16
TURNS_MAX: Final = 256
"""Deliveries not taken yet; the daemon offers 64 unacked at most."""

LinkChanged = Callable[[wire.Registered | None, ProxyError | None], None]
"""``changed(registered, why)``: the session is attached, or it is not, and why."""


@asynccontextmanager
async def open_proxy(
    settings: ProxySettings,
    *,
    rng: random.Random | None = None,
    link_changed: LinkChanged = lambda _registered, _why: None,
) -> AsyncIterator[Proxy]:
    """Attach a session and keep it attached until the block is left.

    The first attach is waited for, unless *waits_for_daemon* is set. What was sent
    before the block was left still goes out, for a second at most, also when the block
    was cancelled.

    Raises:
        DaemonNotRunning: nobody serves the state directory.
        SessionRefused: the session is refused.
        NotTheDaemon: something else answers at the daemon's address.
    """
    proxy = Proxy(settings, rng or random.Random(os.urandom(8)), link_changed)  # noqa: S311  # jitter
    failure: ProxyError | None = None
    async with open_service_nursery() as nursery:
        try:
            await nursery.start(proxy._run)  # noqa: SLF001  # ours
        except ProxyError as refused:
            failure = refused
        else:
            try:
                yield proxy
            finally:
                await proxy._leave()  # noqa: SLF001, ASYNC102  # ours; it shields itself
                nursery.cancel_scope.cancel(reason="proxy closed")
    if failure is not None:
        raise failure


class Turns:
    """The turns as they come, but for those whose link is over: they come again."""

    def __init__(self, turns: trio.MemoryReceiveChannel[ProxyTurn]) -> None:
        self._turns = turns

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ProxyTurn:
        while True:
            try:
                turn = await self._turns.receive()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
            if not turn.lost:
                return turn


class _Round(msgspec.Struct):
    """What came of trying every address once."""

    after_s: float | None = None
    why: ProxyError | None = None
    served: bool = False
    standing_by: bool = False
    """A node answered: the cluster is there, and another one is to serve it."""

    @property
    def came(self) -> Round:
        """What came of it, for the pause after it."""
        if self.served:
            return "served"
        if self.standing_by:
            return "standing by"
        return "refused" if isinstance(self.why, SessionRefused | NotTheDaemon) else "nobody"


class Proxy:
    """One attached session. Made by :func:`open_proxy`."""

    def __init__(
        self, settings: ProxySettings, rng: random.Random, link_changed: LinkChanged
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._link_changed = link_changed
        self._link: DaemonLink | None = None
        self._turns_tx, self._turns_rx = trio.open_memory_channel[ProxyTurn](TURNS_MAX)
        self._numbers = 0
        self._offer: wire.OptionsOffer | None = None
        self._requests_tx, self.requests = trio.open_memory_channel[wire.Choose | wire.Resume](
            REQUESTS_MAX
        )
        """What people ask of the agent: answered by ``chosen`` within 10 s, or ``resumed``."""
        self._route = Route(settings)
        self._pauses = RoundPauses(len(settings.addresses))
        self._started = False
        self.why: ProxyError | None = None
        """Why the session is not attached, where more is known than that the daemon is away."""
        self.ended: ProxyError | None = None
        """Why the session ended for good, once it has."""

    def turns(self) -> Turns:
        """The turns (for a channel session: the messages) as they come, to iterate over.

        They end when the session was replaced; see ``ended``.
        """
        return Turns(self._turns_rx)

    async def call_tool(
        self,
        name: str,
        args: dict[str, Any] | None = None,
        *,
        within_s: float = ANSWER_WITHIN_S,
    ) -> Any:
        """Call one of the daemon's tools and return its result.

        Raises:
            ToolFailed: it answered with an error.
            Disconnected: no link, or it dropped meanwhile; never sent again by itself.
        """
        link = self._reachable()
        self._numbers += 1
        answer = await link.ask(
            wire.Tool(id=self._numbers, name=name, args=args or {}), within_s=within_s
        )
        if not answer.ok:
            raise ToolCallFailed(answer.error or f"{name} failed")
        return answer.result

    async def ask_permission(self, request: wire.PermissionRequest) -> wire.PermissionVerdict:
        """Ask the people of the chat this session answers in, and wait for the verdict.

        Cancelled, it takes the question back.

        Raises:
            Disconnected: no link, or it dropped meanwhile.
        """
        return await self._reachable().ask_permission(request)

    async def open_turn(self, title: str | None = None) -> ProxyTurn:
        """Open a turn that nobody asked for, in the chat of the session's last one.

        Use it as ``with turn.interruption():``, and end it. Refused, it is cancelled.

        Raises:
            Disconnected: no link.
        """
        return await self._reachable().open_turn(title)

    def offer(self, offer: wire.OptionsOffer) -> None:
        """Let people change and call this; sent again at each attach."""
        self._offer = offer
        if self._link is not None:
            self._link.send_soon(offer)

    def answer(self, answer: wire.Chosen | wire.Resumed) -> None:
        """Answer one of ``requests``; lost while the daemon is away."""
        if self._link is not None:
            self._link.send_soon(answer)

    def note(self, conversation: wire.Conversation) -> None:
        """Let the daemon keep which conversation this is; lost while the daemon is away."""
        if self._link is not None:
            self._link.send_soon(conversation)

    def _requested(self, request: wire.Choose | wire.Resume) -> None:
        try:
            self._requests_tx.send_nowait(request)
        except (trio.WouldBlock, trio.BrokenResourceError):
            why = "the session is busy or leaving"
            match request:
                case wire.Choose(n=n):
                    self.answer(wire.Chosen(n=n, ok=False, error=why))
                case wire.Resume(n=n):
                    self.answer(wire.Resumed(n=n, ok=False, error=why))

    def close_permission(self, request_id: str, reason: str) -> None:
        """Report that a request was decided elsewhere; lost while the daemon is away."""
        if self._link is not None:
            self._link.close_permission(request_id, reason)

    def _reachable(self) -> DaemonLink:
        if self._link is None:
            raise Disconnected("larkd is not reachable; reconnecting")
        return self._link

    # ── the link, kept ──────────────────────────────────────────────────────

    async def _run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        def start() -> None:
            if not self._started:
                self._started = True
                task_status.started()

        if self._settings.waits_for_daemon:
            start()
        with self._turns_tx:
            while True:
                attempt = await self._try_round(start)
                why = attempt.why
                if why is not None and not self._started:
                    raise why
                self.why = why
                self._link_changed(None, why)
                if isinstance(why, Replaced):
                    self.ended = why
                    return
                wait_s = self._pauses.after(
                    attempt.came, self._rng.random(), wanted_s=attempt.after_s
                )
                await trio.sleep(wait_s)

    async def _try_round(self, start: Callable[[], None]) -> _Round:
        """Try each address once, until one has served us or the session is over."""
        result = _Round()
        known = False
        try:
            for endpoint in self._route.round():
                known = True
                try:
                    result.after_s = await self._run_link(endpoint, start)
                except StandingBy as standby:
                    result.standing_by = True
                    self._route.named(standby.at)
                    continue
                except Disconnected as lost:
                    result.why = lost if self._started else DaemonNotRunning(str(lost))
                    continue
                result.served, result.why = True, None
                return result
        except ProxyError as ended:
            result.why = ended
        if known and result.standing_by and not isinstance(result.why, Replaced):
            result.why = None  # the cluster is there, and is going to be served
        return result

    async def _run_link(self, endpoint: Endpoint, start: Callable[[], None]) -> float | None:
        """Run one link; return after how many seconds the daemon wants to see us again."""
        stream: trio.abc.Stream | None = None
        within_s = self._pauses.connect_within_s
        with trio.move_on_after(within_s):
            try:
                stream = await connect(endpoint, self._settings)
            except OSError as failed:
                raise Disconnected(f"nobody serves at {endpoint.address} ({failed})") from failed
            except CertificateUnusable as wrong:
                raise Disconnected(str(wrong)) from wrong
        if stream is None:
            raise Disconnected(f"no connection to {endpoint.address} in {within_s:g} s")
        async with stream:
            link = DaemonLink(stream, self._settings, endpoint, self._take)

            def registered() -> None:
                self._link = link
                link.on_request = self._requested
                if self._offer is not None:
                    link.send_soon(self._offer)
                self._route.served(endpoint.address)
                self._link_changed(link.registered, None)
                start()

            try:
                after_s = await link.run(registered)
                self._route.named(link.successors)
                return None if self._route.clustered else after_s
            finally:
                self._link = None
                link.lose()

    async def _take(self, turn: ProxyTurn) -> None:
        await self._turns_tx.send(turn)

    async def _leave(self) -> None:
        if self._link is not None:
            with trio.move_on_after(self._settings.goodbye_s, shield=True):
                await self._link.flush()
