"""Reading of a proxy's stream, over TCP and over what stands in for it."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from actors.links.reading import ProxyReader

AT_ONCE = struct.pack("ii", 1, 0)
"""``SO_LINGER``: closing resets the connection."""


async def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        theirs = await trio.open_tcp_stream(*listener.socket.getsockname())
        return theirs, await listener.accept()


async def read(reader: ProxyReader, into: list[bytes]) -> None:
    into.append(bytes(await reader.read()))


async def test_it_waits_and_returns_what_came_and_nothing_at_the_end() -> None:
    theirs, ours = await pair()
    reader, got = ProxyReader(ours), list[bytes]()
    async with ours, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, reader, got)
            await wait_all_tasks_blocked()
            assert got == []
            await theirs.send_all(b"a frame")
        assert got == [b"a frame"]
        await theirs.send_eof()
        assert await reader.read() == b""


async def test_cancelled_it_has_taken_nothing() -> None:
    theirs, ours = await pair()
    reader = ProxyReader(ours)
    async with ours, theirs:
        await theirs.send_all(b"a frame")
        with trio.move_on_after(0) as cut:
            await reader.read()
        assert cut.cancelled_caught
        assert await reader.read() == b"a frame"


async def test_what_is_reset_or_closed_is_over_as_any_stream_is() -> None:
    theirs, ours = await pair()
    reader = ProxyReader(ours)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    async with ours:
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await reader.read()
    theirs, ours = await pair()
    reader = ProxyReader(ours)
    async with theirs, trio.open_nursery() as nursery:

        async def expect_closed() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await reader.read()

        nursery.start_soon(expect_closed)
        await wait_all_tasks_blocked()
        await ours.aclose()


async def test_another_stream_is_read_as_it_reads() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(b"a frame")
    assert await ProxyReader(ours).read() == b"a frame"


async def test_text_in_small_packets_is_read_together_and_all_else_at_once(
    autojump_clock: MockClock,
) -> None:
    ours, theirs = memory_stream_pair()
    reader, sizes = ProxyReader(ours), list[int]()

    async def send() -> None:
        for _ in range(50):  # as a model writes
            await theirs.send_all(b".")
            await trio.sleep(0.02)
        await trio.sleep(1)
        for _ in range(5):
            await theirs.send_all(b".")
            await trio.sleep(0.2)
        await theirs.send_all(b".!")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        data = b""
        while not data.endswith(b"!"):
            data = bytes(await reader.read())
            sizes.append(len(data))
            reader.brought(text_alone=b"!" not in data)
    assert sum(sizes[:25]) >= 48, "two or three at a time"
    assert sizes[-6:] == [1, 1, 1, 1, 1, 2], "those that come seldom are not waited for"


@pytest.mark.parametrize("phase_s", [0.0, 0.01, 0.03, 0.05, 0.07, 0.09])
async def test_what_came_close_once_is_read_as_it_comes_again(
    autojump_clock: MockClock, phase_s: float
) -> None:
    ours, theirs = memory_stream_pair()
    reader, late_s = ProxyReader(ours), list[float]()
    sent_at = 0.0

    async def send() -> None:
        nonlocal sent_at
        await trio.sleep(phase_s)
        for pause_s in (0.02, *[0.2] * 10):
            sent_at = trio.current_time()
            await theirs.send_all(b".")
            await trio.sleep(pause_s)
        await theirs.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while await reader.read():
            late_s.append(trio.current_time() - sent_at)
            reader.brought(text_alone=True)
    assert late_s[-6:] == pytest.approx([0.0] * 6)
