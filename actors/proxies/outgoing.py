"""What a proxy still has to send: bounded, joined, and written by one task.

Text is joined to fewer, larger deltas, most where it is sent faster than it can be written,
and whoever sends more than fits waits. So a slow daemon slows the agent, a fast one gets the
first token within 20 ms and what follows every 200, and memory is bounded either way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import trio

from actors.kit.outbox import Outbox
from protocol.wire import messages as wire
from protocol.wire.encodable import encodable
from protocol.wire.framing import frame

DELTA_BYTES_MAX: Final = 1024 * 1024
"""Of the text of one delta; an eighth of what a frame may hold."""
JOIN_S: Final = 0.02
"""Text waits so long for more of it; anything else leaves at once, and the text before it."""
EVERY_S: Final = 0.2
"""Text that goes on leaves so often, as often as a card shows more of it at most, and each frame
is a turn of the daemon's loop. It leaves at multiples of it on the machine's clock, so that the
daemon takes that of all its proxies at once: to wake up costs more than to read."""
SPACE_BYTES: Final = 256 * 1024
SPACE_FRAMES: Final = 256
"""Who sends waits while more than this is unsent."""
UNSENT_FRAMES_MAX: Final = 1_024
UNSENT_BYTES_MAX: Final = 16 * 1024 * 1024
"""What does not wait (pongs, the ends of turns) may go this far, as on the daemon's side."""


class _Text:
    """Deltas of one turn and channel that have not been written yet."""

    def __init__(self, delta: wire.Delta, size: int) -> None:
        self.key = (delta.turn_id, delta.channel)
        self.size = size
        self._first = delta
        self._pieces = [delta.text]

    def joins(self, delta: wire.Delta, size: int) -> bool:
        """Take *delta* into this one, if it is of the same text and fits."""
        if self.key != (delta.turn_id, delta.channel) or self.size + size > DELTA_BYTES_MAX:
            return False
        self._pieces.append(delta.text)
        self.size += size
        return True

    def frame(self) -> bytes:
        if len(self._pieces) == 1:
            return frame(self._first)
        return frame(msgspec.structs.replace(self._first, text="".join(self._pieces)))


class Outgoing:
    """The messages waiting for one stream, in the order they were sent."""

    def __init__(
        self, stream: trio.abc.SendStream, clock: Callable[[], float] = trio.current_time
    ) -> None:
        """*clock* is one that all proxies of this machine share."""
        self._outbox = Outbox(
            stream,
            frames_max=UNSENT_FRAMES_MAX,
            bytes_max=UNSENT_BYTES_MAX,
            join_s=JOIN_S,
            every_s=EVERY_S,
            clock=clock,
        )
        self.run = self._outbox.run
        self.close = self._outbox.close
        self.wait_done = self._outbox.wait_done

    async def put(self, message: wire.FromProxy) -> None:
        """Queue it once there is space."""
        await self._outbox.space(frames=SPACE_FRAMES, num_bytes=SPACE_BYTES)
        self.put_nowait(message)

    def put_nowait(self, message: wire.FromProxy) -> None:
        """Queue it without waiting; after the end of the stream it is dropped.

        Raises:
            OutboxFull: the limits of what may be unsent are passed.
            FrameTooLarge: the message alone is larger than a frame may be.
        """
        if self._outbox.over:
            return
        if isinstance(message, wire.Delta):
            self._put_delta(message)
        else:
            self._outbox.put(frame(message), first=isinstance(message, wire.Ping | wire.Pong))

    def _put_delta(self, delta: wire.Delta) -> None:
        try:
            size = len(delta.text.encode())
        except UnicodeEncodeError:
            delta = msgspec.structs.replace(delta, text=encodable(delta.text))
            size = len(delta.text.encode())
        last = self._outbox.last
        if isinstance(last, _Text) and last.joins(delta, size):
            self._outbox.grew(size)
        else:
            self._outbox.put(_Text(delta, size))
