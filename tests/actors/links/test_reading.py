"""Reading of a proxy's stream, over TCP and over what stands in for it."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from actors.links.reading import Read, reader_of

AT_ONCE = struct.pack("ii", 1, 0)
"""``SO_LINGER``: closing resets the connection."""


async def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        theirs = await trio.open_tcp_stream(*listener.socket.getsockname())
        return theirs, await listener.accept()


async def read(reader: Read, into: list[bytes]) -> None:
    into.append(bytes(await reader()))


async def test_it_waits_and_returns_what_came_and_nothing_at_the_end() -> None:
    theirs, ours = await pair()
    reader, got = reader_of(ours), list[bytes]()
    async with ours, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, reader, got)
            await wait_all_tasks_blocked()
            assert got == []
            await theirs.send_all(b"a frame")
        assert got == [b"a frame"]
        await theirs.send_eof()
        assert await reader() == b""


async def test_cancelled_it_has_taken_nothing() -> None:
    theirs, ours = await pair()
    reader = reader_of(ours)
    async with ours, theirs:
        await theirs.send_all(b"a frame")
        with trio.move_on_after(0) as cut:
            await reader()
        assert cut.cancelled_caught
        assert await reader() == b"a frame"


async def test_what_is_reset_or_closed_is_over_as_any_stream_is() -> None:
    theirs, ours = await pair()
    reader = reader_of(ours)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    async with ours:
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await reader()
    theirs, ours = await pair()
    reader = reader_of(ours)
    async with theirs, trio.open_nursery() as nursery:

        async def expect_closed() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await reader()

        nursery.start_soon(expect_closed)
        await wait_all_tasks_blocked()
        await ours.aclose()


async def test_another_stream_is_read_as_it_reads() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(b"a frame")
    assert await reader_of(ours)() == b"a frame"
