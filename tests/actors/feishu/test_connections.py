"""Connections kept between calls, against a server that counts them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from actors.feishu.connections import KEEP_S, KEPT_MAX, Connections
from actors.feishu.exchange import HttpRequest
from actors.feishu.http import DEADLINES

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


class Server:
    """Answers each request with the number of its connection and of the request on it.

    ``after`` is sent after each answer; with ``closes`` the connection ends there.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.after = b""
        self.closes = False
        self.hold: trio.Event | None = None
        self.changed = trio.Condition()

    async def serve(self, stream: trio.SocketStream) -> None:
        number, requests = self.connections, 0
        self.connections += 1
        await self._opened(1)
        async with stream:
            while b"\r\n\r\n" in await stream.receive_some():
                if self.hold is not None:
                    await self.hold.wait()
                text = b"%d.%d" % (number, requests)
                await stream.send_all(ANSWER % (len(text), text) + self.after)
                requests += 1
                if self.closes:
                    break
        await self._opened(-1)

    async def _opened(self, change: int) -> None:
        async with self.changed:
            self.open += change
            self.changed.notify_all()

    async def wait_open(self, count: int) -> None:
        with trio.fail_after(60):
            async with self.changed:
                while self.open != count:
                    await self.changed.wait()


@pytest.fixture
def clock() -> MockClock:
    return MockClock()  # stands still, so that the network may take its time


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def connections(server: Server, nursery: trio.Nursery) -> AsyncIterator[Connections]:
    listeners = await nursery.start(trio.serve_tcp, server.serve, 0)
    port = listeners[0].socket.getsockname()[1]
    connections = Connections(f"http://127.0.0.1:{port}")
    try:
        yield connections
    finally:
        await connections.aclose()


async def ask(connections: Connections) -> str:
    """Make a call; return which connection carried it, and as which of its calls."""
    headers = (("Content-Length", "2"),)
    request = HttpRequest(method="POST", path="/x", headers=headers, body=(b"{}",))
    answer = await connections.exchange(request, DEADLINES)
    read = b""
    try:
        while (chunk := await answer.chunk()) is not None:
            read += chunk
        return read.decode()
    finally:
        answer.close()


async def test_one_call_after_another_shares_a_connection(connections: Connections) -> None:
    assert [await ask(connections) for _ in range(3)] == ["0.0", "0.1", "0.2"]


async def test_calls_at_once_have_one_each_and_the_last_used_goes_first(
    connections: Connections, server: Server
) -> None:
    server.hold = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask, connections)
        await server.wait_open(3)
        server.hold.set()
    first = await ask(connections)
    number, _, calls = first.partition(".")
    assert calls == "1"
    assert await ask(connections) == f"{number}.2"


@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n99"])
async def test_what_was_closed_or_sent_more_than_its_answer_carries_no_other_call(
    connections: Connections, server: Server, after: bytes
) -> None:
    server.after, server.closes = after, not after
    assert await ask(connections) == "0.0"
    if server.closes:
        await server.wait_open(0)
    assert await ask(connections) == "1.0"


async def test_a_cancelled_call_closes_its_connection(
    connections: Connections, server: Server
) -> None:
    server.hold = trio.Event()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, connections)
            await server.wait_open(1)
            scope.cancel()
    server.hold.set()
    await server.wait_open(0)
    assert await ask(connections) == "1.0"


async def test_what_a_burst_opened_ends_by_itself(
    connections: Connections, server: Server, clock: MockClock
) -> None:
    server.hold = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(KEPT_MAX + 4):
            nursery.start_soon(ask, connections)
        await server.wait_open(KEPT_MAX + 4)
        server.hold.set()
    await server.wait_open(KEPT_MAX)
    for _ in range(2):
        clock.jump(KEEP_S * 0.6)
        await ask(connections)
    await server.wait_open(1)


async def test_closed_it_leaves_none_open(connections: Connections, server: Server) -> None:
    await ask(connections)
    await connections.aclose()
    await server.wait_open(0)
