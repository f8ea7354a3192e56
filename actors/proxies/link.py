"""One connection to the daemon, from hello to its end."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from actors.kit.mailbox import offer
from actors.kit.outbox import OutboxFull
from actors.kit.tls import OF_THEIR_AUTHORITY, TlsRefused
from actors.proxies.endpoint import Endpoint, another_serves
from actors.proxies.errors import (
    Disconnected,
    NotTheDaemon,
    ProxyError,
    Replaced,
    SessionRefused,
    StandingBy,
)
from actors.proxies.outgoing import Outgoing
from actors.proxies.questions import OpenQuestions
from actors.proxies.settings import ProxySettings
from actors.proxies.turn import ProxyTurn
from protocol.errors import RemoteProtocolError
from protocol.wire import codec, vocabulary
from protocol.wire import messages as wire
from protocol.wire.auth import is_daemon, proof
from protocol.wire.framing import FrameBody, FrameReader

ANSWER_WITHIN_S: Final = 10.0
PING_AFTER_S: Final = 15.0
GIVE_UP_AFTER_S: Final = 45.0
PROBE_EVERY_S: Final = 0.5
PROBE_PING_AFTER_S: Final = 1.5
PROBE_AFTER_S: Final = 2.5
"""In a cluster; a successor serves some 3 s after its holder stopped."""
READ_BYTES: Final = 256 * 1024
RETRY_AFTER_MAX_S: Final = 60.0
"""Whatever ``bye`` asks for: nobody is kept away by a large number."""


class DaemonLink:
    """One connection to the daemon, from hello to its end."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        settings: ProxySettings,
        endpoint: Endpoint,
        take: Callable[[ProxyTurn], Awaitable[None]],
    ) -> None:
        self._stream = stream
        self._settings = settings
        self._endpoint = endpoint
        self._take = take
        self._outgoing = Outgoing(stream, time.monotonic)
        self._turns: dict[str, ProxyTurn] = {}
        self._asked: dict[int, trio.MemorySendChannel[wire.ToolResult]] = {}
        self._permissions: dict[str, trio.MemorySendChannel[wire.PermissionVerdict]] = {}
        self._questions = OpenQuestions(self.ask, self._send_nowait)
        self.elicit = self._questions.ask
        self._received_at = trio.current_time()
        self._retry_after_s: float | None = None
        self._hello: wire.Hello | None = None
        self._register: wire.Register | None = None
        self.over = False
        self.on_request: Callable[[wire.Choose | wire.Resume], None] = lambda _request: None
        """Called with what people ask of the agent; must not block."""
        self.registered: wire.Registered | None = None
        """What the daemon answered, once its proof was verified."""
        self.successors: tuple[str, ...] = ()
        """Where the daemon announced, leaving, that the session is served next."""

    async def run(self, registered: Callable[[], None]) -> float | None:
        """Live until the link ends.

        Raises:
            Refused: the daemon does not let us in.
            NotTheDaemon: who answers has no proof of being the daemon.
            Replaced: the session is over for good.
            Disconnected: the daemon never let us in.
        """
        failure: ProxyError | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery.cancel_scope)
                nursery.start_soon(self._watch, nursery.cancel_scope)
                if self._settings.addresses:
                    nursery.start_soon(self._probe, nursery.cancel_scope)
                try:
                    await self._read(registered)
                except ProxyError as ended:
                    failure = ended
                nursery.cancel_scope.cancel(reason="link over")
        except* TlsRefused as refused:
            failure = Disconnected(f"{self._endpoint.address}: {_first(refused)}")
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass
        if failure is not None:
            raise failure
        if self.registered is None:
            closed = "the daemon closed the connection before it let us in"
            wants = self._hello is None and self._endpoint.address.tls
            raise Disconnected(f"{closed}; {OF_THEIR_AUTHORITY}" if wants else closed)
        return self._retry_after_s

    def lose(self) -> None:
        """The link is over: turns end, and nobody waits for answers any more."""
        self.over = True
        for turn in self._turns.values():
            turn.lose()
        for tool_tx in self._asked.values():
            tool_tx.close()
        for verdict_tx in self._permissions.values():
            verdict_tx.close()
        self._questions.lose()
        self._asked.clear()
        self._permissions.clear()

    # ── to the daemon ───────────────────────────────────────────────────────

    async def send(self, message: wire.FromProxy) -> None:
        """Send, waiting while too much is unsent.

        Raises:
            Disconnected: the link is over.
        """
        if not self.over:
            try:
                await self._outgoing.put(message)
            except OutboxFull as full:
                raise Disconnected("larkd takes nothing any more") from full
        if self.over:
            await trio.lowlevel.checkpoint()
            raise Disconnected("larkd is not reachable; reconnecting")

    async def ask(self, tool: wire.Tool, *, within_s: float = ANSWER_WITHIN_S) -> wire.ToolResult:
        tx, rx = trio.open_memory_channel[wire.ToolResult](1)
        self._asked[tool.id] = tx
        with tx, rx:
            await self.send(tool)
            try:
                with trio.fail_after(within_s):
                    return await rx.receive()
            except (trio.EndOfChannel, trio.ClosedResourceError):
                raise Disconnected(
                    f"larkd went away before it answered {tool.name}; it may have taken effect"
                ) from None
            except trio.TooSlowError:
                raise Disconnected(f"larkd did not answer {tool.name} in {within_s:g} s") from None
            finally:
                self._asked.pop(tool.id, None)

    async def ask_permission(self, request: wire.PermissionRequest) -> wire.PermissionVerdict:
        """Ask, and wait for the verdict; the daemon's own deadline ends it.

        Cancelled, it notifies the daemon that the question is not open any more.

        Raises:
            Disconnected: the link dropped.
        """
        tx, rx = trio.open_memory_channel[wire.PermissionVerdict](1)
        self._permissions[request.request_id] = tx
        answered = False
        with tx, rx:
            try:
                await self.send(request)
                verdict = await rx.receive()
                answered = True
            except (trio.EndOfChannel, trio.ClosedResourceError):
                raise Disconnected("larkd went away before anybody decided") from None
            finally:
                self._permissions.pop(request.request_id, None)
                if not answered:
                    self._send_nowait(
                        wire.PermissionClosed(request_id=request.request_id, reason="withdrawn")
                    )
        return verdict

    async def open_turn(self, title: str | None) -> ProxyTurn:
        """Open a turn that nobody asked for. Refused, it is cancelled.

        Raises:
            Disconnected: the link is over.
        """
        turn_id = f"own-{secrets.token_hex(8)}"
        nobody = wire.Deliver(
            event_id="", turn_id=turn_id, attempt=0, lease_epoch=0, chat_id="", content="", meta={}
        )
        turn = self._turns[turn_id] = ProxyTurn(nobody, self, ends=True)
        await self.send(wire.TurnOpen(turn_id=turn_id, title=title))
        return turn

    def send_soon(self, message: wire.FromProxy) -> None:
        """Send what is small and may be lost where the link is over."""
        self._send_nowait(message)

    def close_permission(self, request_id: str, reason: str) -> None:
        """Report that a request was decided elsewhere. Lost where the link is over."""
        self._send_nowait(wire.PermissionClosed(request_id=request_id, reason=reason))

    def _send_nowait(self, message: wire.FromProxy) -> None:
        if not self.over:
            with suppress(OutboxFull):
                self._outgoing.put_nowait(message)

    async def flush(self) -> None:
        """Send what is queued, then end the writing side."""
        self._outgoing.close()
        await self._outgoing.wait_done()

    async def _write(self, whole: trio.CancelScope) -> None:
        try:
            await self._outgoing.run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            whole.cancel(reason="the daemon closed the connection")

    async def _watch(self, whole: trio.CancelScope) -> None:
        """Ping a silent daemon; give it up after a while."""
        n = 0
        while True:
            await trio.sleep(PING_AFTER_S)
            silent_s = trio.current_time() - self._received_at
            if silent_s >= GIVE_UP_AFTER_S:
                whole.cancel(reason="the daemon is silent")
            elif silent_s >= PING_AFTER_S:
                n += 1
                self._send_nowait(wire.Ping(n=n))

    async def _probe(self, whole: trio.CancelScope) -> None:
        """Of a silent node, look whether another serves the cluster by now.

        A machine that is stopped keeps its connections: only this distinguishes it from a slow one.
        """
        n = 0
        while True:
            await trio.sleep(PROBE_EVERY_S)
            silent_s = trio.current_time() - self._received_at
            if silent_s >= PROBE_PING_AFTER_S:
                n -= 1
                self._send_nowait(wire.Ping(n=n))
            if silent_s >= PROBE_AFTER_S:
                found = await another_serves(self._endpoint, self._settings)
                if found is not None and trio.current_time() - self._received_at >= PROBE_AFTER_S:
                    self.successors = (str(found),)
                    whole.cancel(reason="another node serves the cluster")

    # ── from the daemon ─────────────────────────────────────────────────────

    async def _read(self, registered: Callable[[], None]) -> None:
        reader = FrameReader()
        while True:
            data = await self._stream.receive_some(READ_BYTES)
            if not data:
                return
            self._received_at = trio.current_time()
            reader.feed(data)
            try:
                for body in reader:
                    message = self._decoded(body)
                    if message is not None and await self._receive(message, registered):
                        return
            except RemoteProtocolError:
                if self.registered is None:
                    raise self._not_the_daemon() from None
                return  # out of step: begin again

    def _decoded(self, body: FrameBody) -> wire.FromDaemon | None:
        try:
            return codec.decode_from_daemon(body)
        except (codec.UnknownMessage, codec.InvalidMessage):
            return None  # of a newer daemon

    async def _receive(self, message: wire.FromDaemon, registered: Callable[[], None]) -> bool:
        """Take one message; return whether the link is over."""
        match message:
            case wire.Ping(n=n):
                self._send_nowait(wire.Pong(n=n))
            case wire.Error(code="turn_refused", turn_id=turn_id) if turn_id in self._turns:
                self._turns[turn_id].cancel("timeout")
            case wire.Error(fatal=fatal):
                return fatal
            case wire.Bye(retry_after_ms=after_ms, at=at):
                self.successors = tuple(at)
                if after_ms is not None:
                    self._retry_after_s = min(after_ms / 1000, RETRY_AFTER_MAX_S)
        if self.registered is None:
            await self._receive_opening(message, registered)
            return False
        match message:
            case wire.Deliver():
                await self._take(self._opened(message))
            case wire.Cancel(turn_id=turn_id, reason=reason):
                running = self._turns.get(turn_id)
                if running is not None:
                    running.cancel(reason)
            case wire.Choose() | wire.Resume():
                self.on_request(message)
            case wire.ToolResult(id=number):
                tx = self._asked.get(number)
                if tx is not None:
                    offer(tx, message)  # answered twice, the first stands
            case wire.ElicitAnswer() as answer:
                self._questions.take(answer)
            case wire.PermissionVerdict(request_id=request_id):
                asker = self._permissions.get(request_id)
                if asker is not None:
                    offer(asker, message)
            case wire.Bye(reason="replaced"):
                raise Replaced("a newer connection holds this session")
        return False

    async def _receive_opening(
        self, message: wire.FromDaemon, registered: Callable[[], None]
    ) -> None:
        """Take what comes before the daemon has proved itself; the rest is not believed."""
        match message:
            case wire.Hello() if self._hello is None:
                self._hello, self._register = message, self._registration(message)
                await self.send(self._register)
            case wire.Registered(proof=proof_of_daemon):
                if (
                    self._hello is None
                    or self._register is None
                    or not is_daemon(
                        self._endpoint.token, proof_of_daemon, self._register, self._hello.nonce
                    )
                ):
                    raise self._not_the_daemon()
                self.registered = message
                registered()
            case wire.Refused(code="standby", message=why, at=at, retry_after_ms=after_ms):
                raise StandingBy(why, tuple(at), after_ms)
            case wire.Refused(code=code, message=why):
                raise SessionRefused(
                    code, why, role=self._settings.role, token_file=self._settings.proves_with
                )

    def _not_the_daemon(self) -> NotTheDaemon:
        return NotTheDaemon(self._endpoint.address.host, self._endpoint.address.port)

    def _opened(self, deliver: wire.Deliver) -> ProxyTurn:
        """A channel session's messages have no end: nothing waits for theirs."""
        turn = ProxyTurn(
            deliver, self, ends=vocabulary.CAPABILITY_TURNS in self._settings.capabilities
        )
        if vocabulary.CAPABILITY_TURNS in self._settings.capabilities:
            self._turns = {key: one for key, one in self._turns.items() if not one.ended}
            self._turns[deliver.turn_id] = turn
        return turn

    def _registration(self, hello: wire.Hello) -> wire.Register:
        settings = self._settings
        return wire.Register(
            protocol=vocabulary.PROTOCOL_VERSION,
            session_id=settings.session_id,
            role=settings.role,
            proof=proof(self._endpoint.token, hello.nonce, settings.session_id, settings.role),
            nonce=os.urandom(vocabulary.NONCE_BYTES),
            pid=os.getpid(),
            proxy_version=settings.version,
            metadata=settings.metadata,
            capabilities=list(settings.capabilities),
        )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    one = group.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one
