"""Connections in memory that can be cut at any byte, and what listens and dials on them."""

from __future__ import annotations

import random

import trio

from tests.simulation.clock import sleep

WINDOW_BYTES = 64 * 1024
DELAYS_S = (0.0, 0.0, 0.0, 0.001, 0.03)
ACCEPT_BACKLOG = 1_024


class _Flow:
    """What one end has sent and the other has not read."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.cut_after: int | None = None
        """Bytes until the connection is cut; None: never."""
        self.waiting = trio.lowlevel.ParkingLot()


class Wire:
    """One connection: two ends, and the fate of both."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.is_cut = False
        there, back = _Flow(), _Flow()
        self.client = End(self, there, back)
        self.server = End(self, back, there)
        self._flows = (there, back)

    def cut(self) -> None:
        """End it for both ends, as a reset does: what was under way is lost."""
        self.is_cut = True
        for flow in self._flows:
            flow.data.clear()
            flow.waiting.unpark_all()


class End(trio.abc.Stream):
    """One end of a wire."""

    def __init__(self, wire: Wire, out: _Flow, into: _Flow) -> None:
        self.wire = wire
        self.out = out
        self._into = into
        self._closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await sleep(self.wire.chance.choice(DELAYS_S))
        left = memoryview(bytes(data))
        while left:
            self._check()
            if self._into.ended and self.out.ended:
                raise trio.BrokenResourceError("the peer has closed")
            space = WINDOW_BYTES - len(self.out.data)
            if space <= 0:
                await self.out.waiting.park()
                continue
            part, left = left[:space], left[space:]
            self._put(part)
        self._check()

    def _put(self, part: memoryview) -> None:
        flow = self.out
        if flow.cut_after is not None:
            part = part[: flow.cut_after]
            flow.cut_after -= len(part)
        flow.data += part
        flow.waiting.unpark_all()
        if flow.cut_after == 0:
            flow.ended = True  # the reader still gets what came before the cut

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        flow = self._into
        if flow.data or flow.ended or self._closed or self.wire.is_cut:
            await trio.lowlevel.checkpoint()
        while not flow.data:
            self._check()
            if flow.ended:
                if flow.cut_after == 0:
                    self.wire.cut()
                    self._check()
                return b""
            await flow.waiting.park()
        taken = bytes(flow.data[: max_bytes or WINDOW_BYTES])
        del flow.data[: len(taken)]
        flow.waiting.unpark_all()
        return taken

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end is closed")
        if self.wire.is_cut:
            raise trio.BrokenResourceError("connection reset")

    async def aclose(self) -> None:
        self._closed = True
        for flow in (self.out, self._into):
            flow.ended = True
            flow.waiting.unpark_all()
        await trio.lowlevel.checkpoint()


class Listener(trio.abc.Listener[trio.abc.Stream]):
    """What a daemon accepts on."""

    def __init__(self) -> None:
        self._tx, self._rx = trio.open_memory_channel[trio.abc.Stream](ACCEPT_BACKLOG)

    def connect(self, end: End) -> None:
        """Give the daemon the far end of a connection.

        Raises:
            OSError: nobody listens.
        """
        try:
            self._tx.send_nowait(end)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionRefusedError("nobody listens") from None

    async def accept(self) -> trio.abc.Stream:
        try:
            return await self._rx.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    async def aclose(self) -> None:
        self._rx.close()
        await trio.lowlevel.checkpoint()
