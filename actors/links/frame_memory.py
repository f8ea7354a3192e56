"""Memory for large frames of all links together, from their first bytes to the end of their work.

A body may have 8 MiB, and there may be 2,048 sessions. A link that is sent the beginning of a
large frame reserves memory for all of it before it reads on; until then its proxy's TCP waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

FRAMES_BYTES: Final = 32 * 1024 * 1024
COUNTED_FROM_BYTES: Final = 256 * 1024
"""What is smaller is of a read or two, and needs no reservation."""
WAIT_S: Final = 10.0
"""So long the others may take to send theirs; then the one that began first is given up."""

log = structlog.get_logger()


class Reservation:
    """The memory of one frame. Let it go with :meth:`free`, in any state, once or more often."""

    def __init__(self, memory: FrameMemory, size: int, give_up: Callable[[], None]) -> None:
        self._memory = memory
        self._give_up = give_up
        self.size = size
        self.arrived = False
        """Whether all of the frame is here: its link owes nothing any more."""
        self.kept = False
        """Whether what the frame asks for goes on beside its link's reading."""

    def give_up(self) -> None:
        """End its link, which sends too slowly while others wait."""
        log.warning("link.frame_too_slow", bytes=self.size)
        self.arrived = True  # it will not: nobody asks twice
        self._give_up()

    def free(self) -> None:
        self._memory.free(self)


class FrameMemory:
    """What is left of it, given out in the order of asking."""

    def __init__(self, size: int = FRAMES_BYTES) -> None:
        self._left = size
        self._held: list[Reservation] = []
        self._order = trio.StrictFIFOLock()
        self._freed = trio.Event()

    async def take(self, size: int, give_up: Callable[[], None]) -> Reservation:
        """Wait for *size* bytes; *give_up* ends the link that has them, if the frame does not come.

        Cancelled while it waits, it has reserved none.
        """
        async with self._order:
            while self._left < size:
                with trio.move_on_after(WAIT_S) as waiting:
                    await self._freed.wait()
                if waiting.cancelled_caught:
                    self._give_up_the_oldest()
            self._left -= size
            self._held.append(Reservation(self, size, give_up))
            return self._held[-1]

    def free(self, holding: Reservation) -> None:
        """Take it back; a second time is nothing."""
        if holding in self._held:
            self._held.remove(holding)
            self._left += holding.size
            self._freed.set()
            self._freed = trio.Event()

    def _give_up_the_oldest(self) -> None:
        for holding in self._held:
            if not holding.arrived:
                holding.give_up()
                return
