"""Connections to one host over HTTP/1.1, kept between calls: h11 on Trio's streams.

httpx's pool looks at all of its connections for each call, and speaks through several layers:
a call costs several times the CPU. Here a call takes the connection that was used last, so
those a burst has opened end by themselves. There is no limit to how many are open: the
gateway limits its calls.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import h11
import httpx
import trio

from actors.feishu.dial import dial_tcp
from actors.feishu.exchange import Deadlines, HttpRequest

KEPT_MAX: Final = 32
"""Idle ones: what a burst leaves."""
KEEP_S: Final = 30.0
READ_BYTES: Final = 64 * 1024
WRITE_BYTES: Final = 64 * 1024
"""The head of a request and its body up to this leave in one write."""
_NO_LINE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_BEGUN: Final = {
    method: h11.Request(method=method, target="/", headers=[("Host", "platform")])
    for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
}
"""What h11 is shown of each request, for it keeps the state of the connection and reads the
answers. The heads of ours are written here: its checks of each header, most of which are
always the same, take a third of all it does for a call."""


class Connections:
    """The way to the host of *base_url*, through the proxy that the environment names.

    A call that fails or is cancelled closes its connection, at whatever point; only one whose
    answer was read to its end carries another call.
    """

    def __init__(self, base_url: str) -> None:
        url = httpx.URL(base_url)
        self._tls = url.scheme == "https"
        self._host = url.host
        self._port = url.port or (443 if self._tls else 80)
        self._host_line = f"Host: {url.netloc.decode('ascii')}\r\n"
        self._prefix = url.raw_path.decode("ascii").rstrip("/")
        self._idle: deque[_Connection] = deque()

    async def exchange(self, request: HttpRequest, within: Deadlines) -> _Answer:
        """Send the request; return its answer, whose body is read from the connection.

        Raises:
            OSError, trio.BrokenResourceError: the host is not reached, or hung up.
            h11.RemoteProtocolError: what it sends is no HTTP.
            trio.TooSlowError: a phase took longer than it may.
            ValueError: a header that is none.
        """
        head = self._head(request)
        connection = self._last_used()
        answer: _Answer | None = None
        with trio.CancelScope() as phase:  # one for all phases: each costs as much as a timer
            try:
                if connection is None:
                    phase.deadline = trio.current_time() + within.connect
                    connection = _Connection(await dial_tcp(self._host, self._port, self._tls))
                phase.deadline = trio.current_time() + within.write
                await connection.send(request, head)
                response = await connection.answer(phase, within.read)
                answer = _Answer(connection, response, within.read, self._keep)
            finally:
                if answer is None and connection is not None:
                    connection.close()
        if answer is None:
            raise trio.TooSlowError
        return answer

    async def aclose(self) -> None:
        while self._idle:
            self._idle.pop().close()
        await trio.lowlevel.checkpoint()

    def _head(self, request: HttpRequest) -> bytes:
        lines = [f"{request.method} {self._prefix}{request.path} HTTP/1.1\r\n", self._host_line]
        for name, value in request.headers:
            if not _NO_LINE.fullmatch(value):
                raise ValueError(f"the header {name} holds what no header may")
            lines.append(f"{name}: {value}\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")

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
        self._hung_up = False
        self.idle_since = 0.0

    @property
    def expired(self) -> bool:
        return trio.current_time() - self.idle_since > KEEP_S

    @property
    def usable(self) -> bool:
        """Whether it may carry a call: what an idle peer sends is its end."""
        return not (self.expired or self._socket.is_readable())

    async def send(self, request: HttpRequest, head: bytes) -> None:
        """Send all of a request. A peer that hangs up meanwhile may have answered first."""
        self._http.send(_BEGUN[request.method])
        self._http.send(h11.EndOfMessage())
        waiting = head
        try:
            for chunk in request.body:
                waiting += chunk
                if len(waiting) >= WRITE_BYTES:
                    await self._stream.send_all(waiting)
                    waiting = b""
            if waiting:
                await self._stream.send_all(waiting)
        except trio.BrokenResourceError:
            self._hung_up = True

    async def answer(self, phase: trio.CancelScope, read_within_s: float) -> h11.Response:
        """Return the head of the answer; *phase* ends what takes too long."""
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                return event
            assert event is not h11.PAUSED, "h11 pauses only after an answer's end"
            if event is h11.NEED_DATA:
                phase.deadline = trio.current_time() + read_within_s
                await self._receive()

    async def body(self, read_within_s: float) -> bytes | None:
        """Return more of the body; None: that was all."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            with trio.fail_after(read_within_s):
                await self._receive()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    def is_free(self) -> bool:
        """Whether the call is over on both sides, so that the next one may begin."""
        try:
            self._http.start_next_cycle()
        except h11.LocalProtocolError:
            return False
        return not (self._hung_up or self._http.trailing_data[0])

    def close(self) -> None:
        self._socket.close()

    async def _receive(self) -> None:
        self._http.receive_data(bytes(await self._stream.receive_some(READ_BYTES)))


class _Answer:
    """An answer. Closed, it gives its connection back."""

    def __init__(
        self,
        connection: _Connection,
        response: h11.Response,
        read_within_s: float,
        keep: Callable[[_Connection], None],
    ) -> None:
        self._connection = connection
        self._read_within_s = read_within_s
        self._keep = keep
        self.status = response.status_code
        self.headers: Mapping[str, str] = {
            name.decode("ascii"): value.decode("latin-1") for name, value in response.headers
        }

    async def chunk(self) -> bytes | None:
        return await self._connection.body(self._read_within_s)

    def close(self) -> None:
        self._keep(self._connection)


def _socket_below(stream: trio.abc.Stream) -> trio.socket.SocketType:
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    assert isinstance(stream, trio.SocketStream), "dialled over TCP"
    return stream.socket
