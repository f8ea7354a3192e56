"""The typed client that proxies are written with.

:func:`open_proxy` keeps one session attached to the daemon, through restarts of it,
and gives its turns one after another::

    async with open_proxy(settings) as proxy:
        async for turn in proxy.turns():
            async with turn:                      # acked; the daemon's cancel ends it
                await turn.say("Hello ")
                await turn.say("world")
            # left without an end it is complete; with an exception it is an error

How it works: one task keeps a link to the daemon for as long as the proxy is open.
Each life of the link has a reader and a writer; what is said waits in a bounded
outbox, so that a slow daemon slows the agent, and nothing is ever sent twice.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio

from actors.proxies.errors import (
    DaemonNotRunning,
    Disconnected,
    ProxyError,
    Refused,
    Replaced,
    ToolFailed,
)
from actors.proxies.link import Link
from actors.proxies.settings import ProxySettings
from actors.proxies.turn import Turn
from protocol import wire
from protocol.places import DaemonInfo, StateDir

__all__ = [
    "DaemonNotRunning",
    "Disconnected",
    "Proxy",
    "ProxyError",
    "ProxySettings",
    "Refused",
    "Replaced",
    "ToolFailed",
    "Turn",
    "open_proxy",
]

BACKOFF_FIRST_S: Final = 0.25
BACKOFF_MAX_S: Final = 5.0
CONNECT_WITHIN_S: Final = 5.0
GOODBYE_WITHIN_S: Final = 1.0
TURNS_MAX: Final = 256
"""Deliveries not taken yet; the daemon offers 64 unacked at most."""


@asynccontextmanager
async def open_proxy(
    settings: ProxySettings, *, rng: random.Random | None = None
) -> AsyncIterator[Proxy]:
    """Attach a session and keep it attached until the block is left.

    The first attach is waited for.

    Raises:
        DaemonNotRunning: nobody serves the state directory.
        Refused: the session is refused for good.
    """
    proxy = Proxy(settings, rng or random.Random(os.urandom(8)))  # noqa: S311  # jitter
    failure: ProxyError | None = None
    async with trio.open_nursery() as nursery:
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


class Proxy:
    """One attached session. Made by :func:`open_proxy`."""

    def __init__(self, settings: ProxySettings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        self._link: Link | None = None
        self._turns_tx, self._turns_rx = trio.open_memory_channel[Turn](TURNS_MAX)
        self._numbers = 0
        self._let_in = False
        self.ended: ProxyError | None = None
        """Why the session ended for good, once it has."""

    @property
    def attached(self) -> wire.Registered | None:
        """What the daemon said at registration; None while it is away."""
        return self._link.registered if self._link is not None else None

    def turns(self) -> trio.MemoryReceiveChannel[Turn]:
        """The turns (for a channel session: the messages) as they come, to iterate over.

        They end when the session was replaced or refused for good; see ``ended``.
        """
        return self._turns_rx

    async def call_tool(self, name: str, args: dict[str, Any] | None = None) -> Any:
        """Call one of the daemon's tools and return its result.

        Raises:
            ToolFailed: it answered with an error.
            Disconnected: no link, or it dropped meanwhile; never sent again by itself.
        """
        link = self._link
        if link is None:
            raise Disconnected("larkd is not reachable; reconnecting")
        self._numbers += 1
        answer = await link.ask(wire.Tool(id=self._numbers, name=name, args=args or {}))
        if not answer.ok:
            raise ToolFailed(answer.error or f"{name} failed")
        return answer.result

    # ── the link, kept ──────────────────────────────────────────────────────

    async def _run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        pause_s = BACKOFF_FIRST_S
        with self._turns_tx:
            while True:
                after_s: float | None = None
                try:
                    host, port, token = self._door()
                    after_s = await self._live(host, port, token, task_status)
                    pause_s = BACKOFF_FIRST_S
                except DaemonNotRunning:
                    if not self._let_in:
                        raise
                except (Replaced, Refused) as ended:
                    if not self._let_in:
                        raise
                    self.ended = ended
                    return
                except Disconnected as lost:
                    if not self._let_in:
                        raise DaemonNotRunning(str(lost)) from lost
                await trio.sleep((after_s or pause_s) * (1 + self._rng.random() / 4))
                pause_s = min(BACKOFF_MAX_S, pause_s * 2)

    def _door(self) -> tuple[str, int, bytes]:
        """Where the daemon is and what proves our role; read anew at each try."""
        state = StateDir(self._settings.state_dir)
        address, token = self._settings.address, self._settings.token
        if address is None:
            try:
                info = msgspec.json.decode(state.daemon_json.read_bytes(), type=DaemonInfo)
            except (OSError, msgspec.DecodeError) as missing:
                raise DaemonNotRunning(
                    f"no larkd serves {state.root}; start it with: larkd daemon"
                    f" --state-dir {state.root}"
                ) from missing
            address = (info.host, info.port)
        if token is None:
            path = state.token(self._settings.role)
            try:
                token = path.read_bytes().strip()
            except OSError as missing:
                raise DaemonNotRunning(
                    f"{path} can't be read ({missing.strerror}); start larkd once, or run"
                    " this as the same user"
                ) from missing
        return (*address, token)

    async def _live(
        self, host: str, port: int, token: bytes, started: trio.TaskStatus[None]
    ) -> float | None:
        """Live one link; return after how many seconds the daemon wants to see us again."""
        stream: trio.SocketStream | None = None
        with trio.move_on_after(CONNECT_WITHIN_S):
            try:
                stream = await trio.open_tcp_stream(host, port)
            except OSError as failed:
                raise Disconnected(f"nobody listens on {host}:{port} ({failed})") from failed
        if stream is None:
            raise Disconnected(f"no connection to {host}:{port} in {CONNECT_WITHIN_S:g} s")
        async with stream:
            link = Link(stream, self._settings, token, self._take)

            def registered() -> None:
                self._link = link
                if not self._let_in:
                    self._let_in = True
                    started.started()

            try:
                return await link.run(registered)
            finally:
                self._link = None
                link.lose()

    async def _take(self, turn: Turn) -> None:
        await self._turns_tx.send(turn)

    async def _leave(self) -> None:
        if self._link is not None:
            with trio.move_on_after(GOODBYE_WITHIN_S, shield=True):
                await self._link.flush()
