"""One run of the WebSocket to the platform: connect, read, write, ping, close.

:func:`run_socket` opens the socket, gives it to *serve*, and closes it; what it came
to is its return value, since links end every day. Inside, nothing
raises either: :meth:`Socket.receive` gives None and :meth:`Socket.send` False once the
link is over.

How it works: *serve* reads, and closes with the handshake when it is done; our pings are
a task beside it. A peer that does not answer (no pong in time, a write that does not get
through) is cut off at the TCP stream, without a close frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal
from urllib.parse import urlsplit

import h11
import structlog
import trio
from msgspec import Struct
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from actors.feishu import frames
from actors.feishu.dial import Dial, ProxyRefusedError, dial_tcp
from actors.feishu.network_errors import words_of
from actors.feishu.websocket import (
    ABNORMAL_CLOSURE,
    HandshakeRejected,
    WebSocket,
    WebSocketClosed,
)
from protocol.errors import RemoteProtocolError
from protocol.platform import longconn
from protocol.platform.outcomes import ClientConfig

log = structlog.get_logger()


class SocketLimits(Struct, frozen=True, kw_only=True):
    connect_within_s: float = 10.0
    """DNS, TCP, TLS and the WebSocket handshake together."""
    send_within_s: float = 10.0
    close_within_s: float = 0.5
    pong_grace_s: float = 30.0
    """Beyond the ping interval, without a pong: the link is half-open."""


class SocketEnd(Struct, frozen=True, kw_only=True):
    """How a run ended.

    ``unreachable`` and ``refused`` never got through the handshake. ``closed`` was the
    peer's close frame, ``lost`` the network, ``half_open`` silence, ``left`` *serve*'s
    own return.
    """

    kind: Literal["unreachable", "refused", "closed", "lost", "half_open", "left"]
    reason: str
    refusal: longconn.Refusal | None = None


class Socket:
    """An open link: complete events in, acks out."""

    def __init__(
        self,
        connection: WebSocket,
        stream: trio.abc.Stream,
        receiver: longconn.Receiver,
        service: int,
        limits: SocketLimits,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._receiver = receiver
        self.service = service
        self._limits = limits
        self._silence_left_s = self._silence_allowed_s()
        self._next_ping = trio.CancelScope()
        self.pongs = 0
        self.end: SocketEnd | None = None
        """Set once the link is over; the first cause stays."""

    @property
    def client_config(self) -> ClientConfig:
        """From the last pong, or the endpoint before it."""
        return self._receiver.client_config

    async def receive(self) -> longconn.Complete | None:
        """Wait for the next complete event; None when the link is over.

        Only time spent waiting here counts as the peer's silence: what we
        were late to read is not the peer's silence. Those that one read brought come
        without a checkpoint between them.
        """
        while self.end is None:
            message = self._connection.receive_nowait()
            if message is None:
                message = await self._next_message()
            event = None if message is None else self._read(message)
            if event is not None:
                return event
        return None

    async def _next_message(self) -> str | bytes | None:
        """Wait for a message; None when the link is over."""
        since = trio.current_time()
        with trio.move_on_after(self._silence_left_s) as silence:
            try:
                message = await self._connection.receive()
            except WebSocketClosed as closed:
                self._ended(_end_of(closed))
                return None
        if silence.cancelled_caught:
            silent_s = self.client_config.ping_interval_s + self._limits.pong_grace_s
            await self._cut("half_open", f"no pong for {silent_s:g} s")
            return None
        self._silence_left_s -= trio.current_time() - since
        return message

    async def send(self, *sent: longconn.Frame) -> bool:
        """Send frames in one write; return whether they were handed to the network."""
        if self.end is not None:
            return False
        data = [frames.encode_frame(frame) for frame in sent]
        through = False
        try:
            with trio.move_on_after(self._limits.send_within_s):
                await self._connection.send(*data)
                through = True
        except WebSocketClosed as closed:
            self._ended(_end_of(closed))
            return False
        finally:
            # Also when cancelled: part of a frame may be out, nothing can follow it.
            if not through:
                await self._cut("half_open", "the peer does not take what is sent")  # noqa: ASYNC102  # it shields itself, with a deadline
        return through

    async def ping_forever(self) -> None:
        """Ping at once, then each ping interval, as of the last pong, till the end."""
        while await self.send(longconn.ping(self.service)):
            with trio.CancelScope() as self._next_ping:
                self._next_ping.deadline = trio.current_time() + self.client_config.ping_interval_s
                await trio.sleep_forever()

    async def close(self) -> None:
        """Close with the handshake within the limit, then close whatever the peer does."""
        self._ended(SocketEnd(kind="left", reason="closed by us"))
        with trio.move_on_after(self._limits.close_within_s, shield=True):
            await self._connection.aclose()
        await trio.aclose_forcefully(self._stream)

    def _read(self, message: str | bytes) -> longconn.Complete | None:
        if isinstance(message, str):
            log.warning("feishu.frame.ignored", reason="a text message")
            return None
        try:
            received = self._receiver.receive(frames.decode_frame(message), now=trio.current_time())
        except RemoteProtocolError as error:
            log.warning("feishu.frame.ignored", reason=str(error))
            return None
        match received:
            case longconn.Complete():
                return received
            case longconn.PongFrame():
                self._pong_came()
            case longconn.Ignored(expected=False):
                log.warning("feishu.frame.ignored", reason=received.reason)
            case _:
                pass
        return None

    def _pong_came(self) -> None:
        self.pongs += 1
        self._silence_left_s = self._silence_allowed_s()
        # A shorter interval takes effect now, a longer one after the next ping.
        soon = trio.current_time() + self.client_config.ping_interval_s
        self._next_ping.deadline = min(self._next_ping.deadline, soon)

    def _silence_allowed_s(self) -> float:
        return self.client_config.ping_interval_s + self._limits.pong_grace_s

    async def _cut(self, kind: Literal["half_open"], reason: str) -> None:
        """Give the peer up. It gets no close frame: it would not read it."""
        self._ended(SocketEnd(kind=kind, reason=reason))
        await trio.aclose_forcefully(self._stream)

    def _ended(self, end: SocketEnd) -> None:
        if self.end is None:
            self.end = end


async def run_socket(
    url: str,
    client_config: ClientConfig,
    serve: Callable[[Socket], Awaitable[None]],
    *,
    limits: SocketLimits,
    dial: Dial | None = None,
) -> SocketEnd:
    """Run one link at *url*, from connect to close, while *serve* uses it.

    Returns after the socket is closed. *url* carries a secret: it is never logged.
    """
    try:
        address = _Address.of(url)
    except ValueError as error:
        return SocketEnd(kind="unreachable", reason=f"not a WebSocket address: {error}")
    until = trio.current_time() + limits.connect_within_s
    late = f"no handshake within {limits.connect_within_s:g} s"
    stream: trio.abc.Stream | None = None
    try:
        with trio.move_on_at(until):
            stream = await (dial or dial_tcp)(address.host, address.port, address.tls)
    except (OSError, trio.BrokenResourceError) as error:
        return SocketEnd(kind="unreachable", reason=f"{address.host}: {_cause(error)}")
    if stream is None:
        return SocketEnd(kind="unreachable", reason=late)
    receiver = longconn.Receiver(client_config)
    try:
        end = await _shake_hands_and_serve(stream, address, receiver, serve, limits, until)
    finally:
        await trio.aclose_forcefully(stream)
    return end or SocketEnd(kind="unreachable", reason=late)


async def _shake_hands_and_serve(
    stream: trio.abc.Stream,
    address: _Address,
    receiver: longconn.Receiver,
    serve: Callable[[Socket], Awaitable[None]],
    limits: SocketLimits,
    open_until: float,
) -> SocketEnd | None:
    """Shake hands and serve; None when the handshake took too long."""
    connection = WebSocket(stream)
    try:
        with trio.move_on_at(open_until) as opening:
            await connection.shake_hands(address.host_header, address.resource)
    except HandshakeRejected as rejection:
        refusal = longconn.handshake_refused(rejection.status, rejection.headers)
        return SocketEnd(kind="refused", reason=refusal.reason, refusal=refusal)
    except WebSocketClosed as closed:
        return _end_of(closed)
    except (WebSocketProtocolError, h11.ProtocolError) as broken:
        return SocketEnd(kind="lost", reason=f"broken WebSocket: {_cause(broken)}")
    if opening.cancelled_caught:
        return None
    socket = Socket(connection, stream, receiver, address.service, limits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.ping_forever)
        try:
            await serve(socket)
        finally:
            await socket.close()  # noqa: ASYNC102  # it shields itself, with a deadline
        nursery.cancel_scope.cancel(reason="the link is over")
    return socket.end


class _Address(Struct, frozen=True, kw_only=True):
    """The parts of a WebSocket URL."""

    host: str
    port: int
    tls: bool
    host_header: str
    resource: str
    service: int

    @classmethod
    def of(cls, url: str) -> _Address:
        """Take *url* apart.

        Raises:
            ValueError: it is no ``ws`` or ``wss`` URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"ws", "wss"} or not parts.hostname:
            raise ValueError(f"scheme {parts.scheme[:20]!r}")
        tls = parts.scheme == "wss"
        return cls(
            host=parts.hostname,
            port=parts.port or (443 if tls else 80),
            tls=tls,
            host_header=parts.netloc.rpartition("@")[2],
            resource=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            service=longconn.service_of(url),
        )


def _end_of(closed: WebSocketClosed) -> SocketEnd:
    if closed.code == ABNORMAL_CLOSURE:
        return SocketEnd(kind="lost", reason="the connection broke off")
    text = f"closed with {closed.code} {closed.reason}".rstrip()
    refusal = longconn.close_refused(closed.code, closed.reason)
    return SocketEnd(kind="closed", reason=text, refusal=refusal)


def _cause(error: BaseException) -> str:
    """Name what went wrong; Trio's own errors have it in their cause."""
    if isinstance(error, ProxyRefusedError):
        return str(error)[:300]
    if words := words_of(error):
        return words
    inner = error.__cause__ or error
    return f"{type(inner).__name__}: {inner}"[:200]
