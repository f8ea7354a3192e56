"""A WebSocket as its client: wsproto's machine on a Trio stream, without a task of its own.

A busy link brings and answers several messages at a time. Those that one read brings are
taken without another turn of the loop, and those that are sent together are one write. A
reader in a task of its own, as trio-websocket has one, hands over each in a turn of its own.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any, Final

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""The platform's own Python client takes 1 MiB, so more is not sent today."""
READ_BYTES: Final = 64 * 1024
NORMAL_CLOSURE: Final = 1000
ABNORMAL_CLOSURE: Final = 1006
TOO_LARGE: Final = 1009


class WebSocketClosed(Exception):
    """The link is over, with the peer's code and reason; 1006 where it just broke off."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class HandshakeRejected(Exception):
    """The server answered with another status than 101. Header names are lower case."""

    def __init__(self, rejection: RejectConnection) -> None:
        super().__init__(f"status {rejection.status_code}")
        self.status = rejection.status_code
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in rejection.headers
        }


class WebSocket:
    """One link. One task receives and closes; any may send.

    Bytes that are no frames end it like a close of the peer with wsproto's code for them.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._machine = WSConnection(ConnectionType.CLIENT)
        self._sending = trio.StrictFIFOLock()
        self._messages: deque[str | bytes] = deque()
        self._parts: list[Any] = []
        self._size = 0
        self._open = False
        self._closed: WebSocketClosed | None = None

    async def shake_hands(self, host: str, resource: str) -> None:
        """Upgrade the stream.

        Raises:
            HandshakeRejected: the server does not want it.
            WebSocketClosed: the stream ended before.
            wsproto.utilities.ProtocolError, h11.ProtocolError: what it sends is no
                handshake.
        """
        await self._write(self._machine.send(Request(host=host, target=resource)))
        while not self._open:
            await self._read()

    def receive_nowait(self) -> str | bytes | None:
        """Return the next message of those that were read already; None: there is none."""
        return self._messages.popleft() if self._messages else None

    async def receive(self) -> str | bytes:
        """Return the next message; a checkpoint only where it has to be read first.

        Raises:
            WebSocketClosed: after the last message that came before.
        """
        while not self._messages:
            await self._read()
        return self._messages.popleft()

    async def send(self, *messages: bytes) -> None:
        """Send them in one write. Cancelled while it writes, the link is over.

        Raises:
            WebSocketClosed: before, or meanwhile.
        """
        if self._closed is not None:
            raise self._closed
        await self._write(b"".join(self._machine.send(BytesMessage(data=one)) for one in messages))

    async def aclose(self) -> None:
        """Send a close frame and read until the peer's; what it sends before is dropped."""
        if self._closed is not None:
            return
        data = self._machine.send(CloseConnection(code=NORMAL_CLOSURE))
        closing = self._closed = WebSocketClosed(NORMAL_CLOSURE, "")
        with suppress(WebSocketClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            await self._write(data)
            while self._closed is closing:
                await self._take(await self._stream.receive_some(READ_BYTES))

    async def _read(self) -> None:
        if self._closed is not None:
            raise self._closed
        try:
            data = await self._stream.receive_some(READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        await self._take(data)

    async def _take(self, data: bytes | bytearray) -> None:
        """Take what one read brought. That an answer to it can't be sent shows at the next read."""
        if not data:
            self._closed = WebSocketClosed(ABNORMAL_CLOSURE, "")
            return
        self._machine.receive_data(bytes(data))
        for event in self._machine.events():
            with suppress(WebSocketClosed):
                await self._handle(event)

    async def _handle(self, event: Event) -> None:
        match event:
            case TextMessage() | BytesMessage() if self._closed is None:
                await self._join(event)
            case Ping() if self._machine.state is ConnectionState.OPEN:
                await self._write(self._machine.send(event.response()))
            case CloseConnection():
                self._closed = WebSocketClosed(event.code, event.reason or "")
                if self._machine.state is ConnectionState.REMOTE_CLOSING:
                    await self._write(self._machine.send(event.response()))
            case AcceptConnection():
                self._open = True
            case RejectConnection():
                raise HandshakeRejected(event)

    async def _join(self, part: TextMessage | BytesMessage) -> None:
        """Keep a part of a message; when it was the last one, the message is whole."""
        self._size += len(part.data)
        if self._size > MESSAGE_BYTES_MAX:
            reason = f"a message of more than {MESSAGE_BYTES_MAX} bytes"
            data = self._machine.send(CloseConnection(code=TOO_LARGE, reason=reason))
            self._closed = WebSocketClosed(TOO_LARGE, reason)
            await self._write(data)
            return
        self._parts.append(part.data)
        if part.message_finished:
            self._messages.append(
                "".join(self._parts) if isinstance(part.data, str) else b"".join(self._parts)
            )
            self._parts, self._size = [], 0

    async def _write(self, data: bytes) -> None:
        through = False
        try:
            async with self._sending:
                await self._stream.send_all(data)
                through = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            if not through and self._closed is None:
                self._closed = WebSocketClosed(ABNORMAL_CLOSURE, "")
        if not through:
            assert self._closed is not None
            raise self._closed
