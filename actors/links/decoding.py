"""Decoding what one link reads, within its share of the daemon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from actors.links.frame_memory import COUNTED_FROM_BYTES, Reservation
from actors.links.settings import LinkSettings
from actors.links.share import Share
from protocol.wire.codec import InvalidMessage
from protocol.wire.framing import EARLY_BODY_BYTES_MAX, FrameBody, FrameReader
from protocol.wire.link import LinkMachine, LinkState, Received
from protocol.wire.weighing import EARLY_VALUES_MAX, VALUES_MAX, WEIGHED_FROM_BYTES, weigh

STEP_S: Final = 0.001
"""After so long at what one read brought, others have their turn."""


class Decoding:
    """The frames of one link, and what they cost the others."""

    def __init__(
        self, machine: LinkMachine, settings: LinkSettings, end: Callable[[], None]
    ) -> None:
        """*end* gives the link up: its large frame stands still while others wait."""
        self._machine = machine
        self._settings = settings
        self._end = end
        self.reader = FrameReader(EARLY_BODY_BYTES_MAX)
        self._share = Share(trio.current_time())
        self._yield_at = 0.0
        self.holding: Reservation | None = None
        """The memory that a large frame takes."""

    def feed(self, data: bytes | bytearray) -> None:
        """Take what one read brought."""
        self._yield_at = trio.current_time() + STEP_S
        self.reader.feed(data)

    async def reserve(self) -> None:
        """Before more of a large frame is read, reserve memory for it."""
        size = self.reader.unfinished
        if self.holding is None and size >= COUNTED_FROM_BYTES:
            self.holding = await self._settings.memory.take(size, self._end)

    def release(self) -> None:
        """What was large has been done with, or goes on beside and frees it itself."""
        if self.holding is not None and self.holding.arrived:
            if not self.holding.kept:
                self.holding.free()
            self.holding = None

    def close(self) -> None:
        if self.holding is not None and not self.holding.kept:
            self.holding.free()
        self.reader.clear()  # now, not when this link's cycles are collected

    async def pay(self, cost_s: float) -> None:
        """Let others go first, where this link has used more than its share."""
        beyond_s = self._share.use(cost_s, trio.current_time())
        if beyond_s:
            await self._settings.heavy.settle(beyond_s)

    async def decoded(self, body: FrameBody) -> Received | None:
        """Decode a body. What is large waits its turn, and is not begun if it holds too much."""
        if self.holding is not None:
            self.holding.arrived = True
        if len(body) < WEIGHED_FROM_BYTES:
            if trio.current_time() > self._yield_at:
                await trio.lowlevel.checkpoint()
                self._yield_at = trio.current_time() + STEP_S
            return self._machine.receive(body)
        registered = self._machine.state is LinkState.REGISTERED
        try:
            for _ in weigh(body, VALUES_MAX if registered else EARLY_VALUES_MAX):
                await trio.lowlevel.checkpoint()
        except InvalidMessage as wrong:
            return self._machine.refused(wrong)
        return await self._settings.heavy.run(lambda: self._machine.receive(body))
