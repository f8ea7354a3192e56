"""Connections to one host over HTTP/1.1, kept between calls: h11 on Trio's streams.

httpx's pool looks at all of its connections for each call, and speaks through several layers:
a call costs three times the CPU (0.7 ms against 0.25, measured with six connections).
Here a call takes the connection that was used last, so those a burst has opened end by
themselves. There is no limit to how many are open: the gateway limits its calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

import h11
import httpx
import trio

from actors.feishu.dial import dial_tcp

KEPT_MAX: Final = 32
"""Idle ones: what a burst leaves."""
KEEP_S: Final = 30.0
READ_BYTES: Final = 64 * 1024
WRITE_BYTES: Final = 64 * 1024
"""The head of a request and its body up to this leave in one write."""


class Connections(httpx.AsyncBaseTransport):
    """A transport to the host of *base_url*, through the proxy that the environment names.

    A call that fails or is cancelled closes its connection, at whatever point; only one whose
    answer was read to its end carries another call.
    """

    def __init__(self, base_url: str) -> None:
        url = httpx.URL(base_url)
        self._tls = url.scheme == "https"
        self._host = url.host
        self._port = url.port or (443 if self._tls else 80)
        self._idle: deque[_Connection] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; return its answer, whose body is read from the connection.

        Raises:
            OSError, trio.BrokenResourceError: the host is not reached, or hung up.
            h11.RemoteProtocolError: what it sends is no HTTP.
            trio.TooSlowError: a phase took longer than ``request.extensions["timeout"]``.
        """
        limits: dict[str, float] = request.extensions["timeout"]
        connection = self._last_used()
        if connection is None:
            with trio.fail_after(limits["connect"]):
                stream = await dial_tcp(self._host, self._port, self._tls)
            connection = _Connection(stream)
        answered = False
        try:
            with trio.fail_after(limits["write"]):
                await connection.send(request)
            answer = await connection.answer(limits["read"])
            answered = True
        finally:
            if not answered:
                connection.close()
        body = _Body(connection, limits["read"], self._keep)
        return httpx.Response(answer.status_code, headers=list(answer.headers), stream=body)

    async def aclose(self) -> None:
        while self._idle:
            self._idle.pop().close()
        await trio.lowlevel.checkpoint()

    def _last_used(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    def _keep(self, connection: _Connection) -> None:
        """Take back a connection whose answer nobody reads any more."""
        if not connection.is_free():
            connection.close()
            return
        connection.idle_since = trio.current_time()
        self._idle.append(connection)
        while len(self._idle) > KEPT_MAX or self._idle[0].expired:
            self._idle.popleft().close()


class _Connection:
    """One connection, which carries one call at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._socket = _socket_below(stream)
        self._http = h11.Connection(h11.CLIENT)
        self.idle_since = 0.0

    @property
    def expired(self) -> bool:
        return trio.current_time() - self.idle_since > KEEP_S

    @property
    def usable(self) -> bool:
        """Whether it may carry a call: what an idle peer sends is its end."""
        return not (self.expired or self._socket.is_readable())

    async def send(self, request: httpx.Request) -> None:
        """Send all of a request. A peer that hangs up meanwhile may have answered first."""
        target = request.url.raw_path
        event = h11.Request(method=request.method, target=target, headers=request.headers.raw)
        waiting = self._encoded(event)
        with suppress(trio.BrokenResourceError):
            assert isinstance(request.stream, httpx.SyncByteStream), "it is in memory"
            for chunk in request.stream:
                waiting += self._encoded(h11.Data(data=chunk))
                if len(waiting) >= WRITE_BYTES:
                    await self._stream.send_all(waiting)
                    waiting = b""
            await self._stream.send_all(waiting + self._encoded(h11.EndOfMessage()))

    async def answer(self, read_within_s: float) -> h11.Response:
        """Return the head of the answer."""
        while True:
            event = await self._event(read_within_s)
            if isinstance(event, h11.Response):
                return event

    async def body(self, read_within_s: float) -> bytes | None:
        """Return more of the body; None: that was all."""
        event = await self._event(read_within_s)
        return bytes(event.data) if isinstance(event, h11.Data) else None

    def is_free(self) -> bool:
        """Whether the call is over on both sides, so that the next one may begin."""
        try:
            self._http.start_next_cycle()
        except h11.LocalProtocolError:
            return False
        return not self._http.trailing_data[0]

    def close(self) -> None:
        self._socket.close()

    async def _event(self, read_within_s: float) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            with trio.fail_after(read_within_s):
                self._http.receive_data(bytes(await self._stream.receive_some(READ_BYTES)))
        assert isinstance(event, h11.Event), "h11 pauses only after an answer's end"
        return event

    def _encoded(self, event: h11.Event) -> bytes:
        return self._http.send(event) or b""


class _Body(httpx.AsyncByteStream):
    """An answer's body. Closed, it gives its connection back."""

    def __init__(
        self, connection: _Connection, read_within_s: float, keep: Callable[[_Connection], None]
    ) -> None:
        self._connection = connection
        self._read_within_s = read_within_s
        self._keep = keep

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self  # no generator: one that is left early waits for the collector

    async def __anext__(self) -> bytes:
        chunk = await self._connection.body(self._read_within_s)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        self._keep(self._connection)


def _socket_below(stream: trio.abc.Stream) -> trio.socket.SocketType:
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    assert isinstance(stream, trio.SocketStream), "dialled over TCP"
    return stream.socket
