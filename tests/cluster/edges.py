"""A relay on an edge between two processes, in the loop: it passes, delays, stops or resets."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Final, Literal

import trio

READ_BYTES: Final = 65_536
_REQUEST: Final = re.compile(rb"^(GET|POST|PUT|PATCH|DELETE) (/open-apis/\S+) HTTP/1\.1\r\n")

Manner = Literal["pass", "stop", "reset"]


class Looks(trio.abc.Instrument):
    """When the loop looked for what had come, by its own clock."""

    def __init__(self) -> None:
        self._last = self.last_but_one = trio.current_time()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002  # of the hook
        self.last_but_one, self._last = self._last, trio.current_time()


class Edge:
    """One edge. Connections are made to :attr:`port` of loopback, and go on to *to*."""

    def __init__(self, to: int, rewrites: dict[bytes, bytes] | None, *, answers: bool) -> None:
        self.to = to
        self.port = 0
        self.manner: Manner = "pass"
        """``stop``: nothing gets through and nothing is closed, as of a cable that was cut;
        ``reset``: what is open was reset, and what is opened is."""
        self.delay_s = 0.0
        """How long each piece waits, in either direction."""
        self.calls: list[tuple[float, str]] = []
        """When the client began which call of the platform, at the earliest."""
        self._looks = Looks()
        self._rewrites = rewrites or {}
        self._answers = answers
        self._changed = trio.Event()
        self._open: set[trio.SocketStream] = set()

    def let(self, manner: Manner) -> None:
        self.manner = manner
        self._changed.set()
        self._changed = trio.Event()
        if manner == "reset":
            for one in tuple(self._open):
                _reset(one)

    async def run(self, *, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        trio.lowlevel.add_instrument(self._looks)
        try:
            await trio.serve_listeners(self._pass_on, listeners, task_status=task_status)
        finally:
            trio.lowlevel.remove_instrument(self._looks)

    async def _pass_on(self, client: trio.SocketStream) -> None:
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async with client:
                await self._may_pass()
                if self.manner == "reset":
                    _reset(client)
                    return
                async with await trio.open_tcp_stream("127.0.0.1", self.to) as server:
                    self._open |= {client, server}
                    try:
                        await self._both(client, server)
                    finally:
                        self._open -= {client, server}

    async def _both(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, client, server, True, nursery.cancel_scope)
                nursery.start_soon(self._pump, server, client, False, nursery.cancel_scope)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def _pump(
        self,
        source: trio.SocketStream,
        target: trio.SocketStream,
        is_request: bool,
        whole: trio.CancelScope,
    ) -> None:
        while data := bytes(await source.receive_some(READ_BYTES)):
            if self._answers and is_request and (call := _REQUEST.match(data)):
                # It was not there when the loop last looked, which may be long ago.
                self.calls.append((self._looks.last_but_one, call[2].decode()))
            for before, after in self._rewrites.items():
                data = data.replace(before, after)
            if self.delay_s:
                await trio.sleep(self.delay_s)
            await self._may_pass()
            await target.send_all(data)
        whole.cancel(reason="one end closed")

    async def _may_pass(self) -> None:
        while self.manner == "stop":
            await self._changed.wait()


def _reset(stream: trio.SocketStream) -> None:
    with suppress(OSError):
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        stream.socket.close()


async def open_edge(
    nursery: trio.Nursery,
    to: int,
    rewrites: dict[bytes, bytes] | None = None,
    *,
    answers: bool = False,
) -> Edge:
    """Relay to a port of loopback, in *nursery*.

    *rewrites* are made in both directions; *answers*: it is the platform's API, whose calls
    are noted.
    """
    edge = Edge(to, rewrites, answers=answers)
    await nursery.start(edge.run)
    return edge
