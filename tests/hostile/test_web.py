"""Web servers that do their worst, by seed, when a picture is fetched, and an honest one."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from actors.feishu.pictures import PictureRefused, fetch
from tests.kit.sizes import NIGHTLY

PNG = b"\x89PNG\r\n\x1a\n" + bytes(2_000)
BOMB = gzip.compress(PNG + bytes(3_000_000))
BYTES_MAX = 200_000
AT_ONCE = 24 if NIGHTLY else 10
MEMORY_MAX = 30_000_000
SEEDS = range(50) if NIGHTLY else range(1)
WITHIN_S = 60.0
SILENT_S = 4.0
"""So long nothing has to come of a server for it to be one that goes silent."""


def answer(rng: random.Random) -> bytes:
    """Return what a hostile server writes, before it goes on or breaks off."""
    bomb, ok = BOMB, b"HTTP/1.1 200 OK\r\n"
    return rng.choice(
        (
            ok + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb,
            ok + b"Content-Encoding: gzip, br, deflate\r\n\r\n" + bomb,
            ok + b"Content-Length: 99999999999\r\n\r\n" + PNG,
            ok + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n" + PNG * 500,
            ok + b"\r\n" + PNG * 500,
            ok + b"\r\n" + b"<svg onload=x>" * 1_000,
            ok + b"Content-Type: image/png\r\n\r\n" + b"MZ" + bytes(1_000),
            ok + b"X: " + b"y" * 300_000,
            ok + b"Content-Length: 4000\r\n\r\n" + PNG[:100],
            b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: http://[fec0::1]/x\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: //x\xff\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n",
            b"HTTP/1.1 500 No\r\n\r\n",
            b"\x16\x03\x01" + rng.randbytes(100),
            rng.randbytes(500),
            b"",
        )
    )


@asynccontextmanager
async def serving(rng: random.Random | None) -> AsyncIterator[int]:
    """Serve on a port of loopback; without *rng*, a picture."""

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.receive_some(4_096)
            if rng is None:
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PNG)
                await stream.send_all(head + PNG)
                return
            data = answer(rng)
            for at in range(0, len(data), 65_536):
                await stream.send_all(data[at : at + 65_536])
            if rng.random() < 0.1:
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_hostile_server_gives_nothing_and_an_honest_one_is_served(seed: int) -> None:
    rng = random.Random(seed)
    got: list[bytes] = []
    refused = 0
    some_refused = trio.Event()

    async def ask(port: int) -> None:
        nonlocal refused
        try:
            url = f"http://127.0.0.1:{port}/x.png"
            got.append(await fetch(url, BYTES_MAX, allowed="127.0.0.1".__eq__))
        except PictureRefused:
            refused += 1
            some_refused.set()

    async def hostile_ones(port: int) -> None:
        """Ask all at once; those whose server goes silent are cut off in the end."""
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(ask, port)
            with trio.fail_after(WITHIN_S):
                await some_refused.wait()
            with trio.move_on_after(SILENT_S):
                while nursery.child_tasks:
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()

    async with serving(rng) as hostile, serving(None) as honest:
        tracemalloc.start()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hostile_ones, hostile)
                with trio.fail_after(WITHIN_S):
                    await ask(honest)
            assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
        finally:
            tracemalloc.stop()
    assert got == [PNG]
    assert refused
