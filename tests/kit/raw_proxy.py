"""A proxy written from the wire contract alone: plain maps, no code of the daemon.

Tests speak through it so that what they check is the contract, not our own reading
of it in ``protocol/``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import trio

Map = dict[str, Any]
STAYS_EVERY_S = 10.0
"""The daemon gives up who is silent for 45 s."""
LEFT_WITHIN_S = 60.0
"""Generous: a daemon that hangs fails the test, a slow one does not."""


class Closed(Exception):
    """The daemon closed the connection."""


def frame(message: Map) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


class RawProxy:
    """One TCP connection to the daemon. Messages are maps; ``t`` is their type."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._sending = trio.Lock()
        self._buffer = bytearray()
        self.seen: list[Map] = []
        """Every message received, in order."""

    async def send(self, **message: Any) -> None:
        await self.send_bytes(frame(message))

    async def send_bytes(self, data: bytes) -> None:
        async with self._sending:
            await self._stream.send_all(data)

    async def stay(self) -> None:
        """Send something now and then, whatever the test is at: a proxy that is silent is lost."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await trio.sleep(STAYS_EVERY_S)
                await self.send(t="pong", n=0)

    async def receive(self) -> Map:
        """Return the next message; pings of the daemon are answered and skipped."""
        while True:
            message = await self._receive_any()
            self.seen.append(message)
            if message["t"] == "ping":
                # Who has left meanwhile reads no answer; what it sent before that is still here.
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self.send(t="pong", n=message["n"])
                continue
            return message

    async def _receive_any(self) -> Map:
        while True:
            if len(self._buffer) >= 4:
                size = int.from_bytes(self._buffer[:4], "big")
                if len(self._buffer) >= 4 + size:
                    body = bytes(self._buffer[4 : 4 + size])
                    del self._buffer[: 4 + size]
                    decoded: Map = msgspec.msgpack.decode(body)
                    return decoded
            try:
                data = await self._stream.receive_some(65536)
            except trio.BrokenResourceError:
                raise Closed from None
            if not data:
                raise Closed
            self._buffer += data

    async def expect(self, kind: str, *, within_s: float = 60) -> Map:
        """Return the next message, which must be of this type."""
        with trio.fail_after(within_s):
            message = await self.receive()
        assert message["t"] == kind, message
        return message

    async def until(
        self,
        kind: str,
        where: Callable[[Map], bool] = lambda _message: True,
        *,
        within_s: float = 60,
    ) -> Map:
        """Skip messages up to the first of this type that fits."""
        with trio.fail_after(within_s):
            while True:
                message = await self.receive()
                if message["t"] == kind and where(message):
                    return message

    async def wait_closed(self, *, within_s: float = 60) -> list[Map]:
        """Return what still came before the daemon closed the connection."""
        rest: list[Map] = []
        with trio.fail_after(within_s):
            while True:
                try:
                    rest.append(await self.receive())
                except Closed:
                    return rest

    async def register(
        self,
        state_dir: Path,
        session_id: str,
        role: str = "session",
        /,
        *,
        token_role: str | None = None,
        **fields: Any,
    ) -> Map:
        """Register with a proper proof; return the daemon's answer."""
        hello = await self.expect("hello")
        await self.send(**registration(hello, state_dir, session_id, role, token_role, fields))
        with trio.fail_after(60):
            return await self.receive()

    async def tool(self, name: str, number: int = 1, **args: Any) -> Map:
        """Call a tool and return its ``tool_result``; other messages stay in ``seen``."""
        await self.send(t="tool", id=number, name=name, args=args)
        return await self.until("tool_result", lambda message: message["id"] == number)

    async def barrier(self) -> None:
        """Return when the daemon has handled what was sent before."""
        await self.send(t="ping", n=987_654)
        await self.until("pong", lambda message: message["n"] == 987_654)

    async def aclose(self) -> None:
        """Close the connection without a look at what the daemon does."""
        await self._stream.aclose()

    async def leave(self) -> None:
        """Close our end, and wait until the daemon has closed its own.

        It notifies ownership of a link's end before: what is asked afterwards, over any other
        connection, is answered by a daemon that knows of it.
        """
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, Closed):
            if isinstance(self._stream, trio.SocketStream):
                await self._stream.send_eof()
            with trio.fail_after(LEFT_WITHIN_S):
                while await self._stream.receive_some(65_536):
                    pass


def registration(
    hello: Map,
    state_dir: Path,
    session_id: str,
    role: str,
    token_role: str | None,
    fields: Map,
) -> Map:
    key = (state_dir / "tokens" / f"{token_role or role}.token").read_bytes()
    signed = hello["nonce"] + b"\0" + session_id.encode() + b"\0" + role.encode()
    return {
        "t": "register",
        "protocol": 1,
        "session_id": session_id,
        "role": role,
        "proof": hmac.new(key, signed, hashlib.sha256).hexdigest(),
        "pid": 4242,
        "proxy_version": "raw-1",
        "metadata": {},
        "capabilities": ["turns", "cancel"],
    } | fields


@asynccontextmanager
async def connect(state_dir: Path) -> AsyncIterator[RawProxy]:
    """Open a connection to the daemon that serves *state_dir*; at the end, leave it.

    A test that fails just closes it.
    """
    where = json.loads((state_dir / "daemon.json").read_text())
    stream = await trio.open_tcp_stream(where["host"], where["port"])
    async with stream:
        proxy = RawProxy(stream)
        yield proxy
        await proxy.leave()


@asynccontextmanager
async def session(
    state_dir: Path, session_id: str, role: str = "session", **fields: Any
) -> AsyncIterator[RawProxy]:
    """Open a connection and register; the answer must be ``registered``."""
    async with connect(state_dir) as proxy, trio.open_nursery() as nursery:
        answer = await proxy.register(state_dir, session_id, role, **fields)
        assert answer["t"] == "registered", answer
        nursery.start_soon(proxy.stay)
        yield proxy
        nursery.cancel_scope.cancel()
