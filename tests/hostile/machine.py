"""Another program of the machine, without a token: it wants the daemon's ports for itself."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import trio

from tests.kit.raw_proxy import connect

REQUESTS = (
    b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 2_000,
    b"POST /api/handoff HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n",
    b"POST /api/stop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    b"GET /api/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 0\r\n\r\n",
    b"\x16\x03\x01" + bytes(200),
    b"GET " + b"/" * 100_000,
    b"",
)


class LocalProcess:
    def __init__(self, rng: random.Random, state_dir: Path, ports: tuple[int, ...]) -> None:
        self._rng = rng
        self._state_dir = state_dir
        self._ports = ports
        self.attacks = 0

    async def run(self) -> None:
        while True:
            acts = (self._connects, self._asks) if self._ports else (self._connects,)
            with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                await self._rng.choice(acts)()
            self.attacks += 1
            await trio.sleep(0.01)

    async def _connects(self) -> None:
        """Open more connections than anybody needs, and hold them."""
        async with AsyncExitStack() as stack:
            for _ in range(100):
                held = await stack.enter_async_context(connect(self._state_dir))
                if self._rng.random() < 0.3:
                    await held.send_bytes((200_000).to_bytes(4, "big") + bytes(100_000))
            await trio.sleep(0.1)

    async def _asks(self) -> None:
        """Ask the HTTP ports half a question each, and do not read."""
        async with AsyncExitStack() as stack:
            for _ in range(50):
                stream = await trio.open_tcp_stream("127.0.0.1", self._rng.choice(self._ports))
                await stack.enter_async_context(stream)
                await stream.send_all(self._rng.choice(REQUESTS))
            await trio.sleep(0.1)
