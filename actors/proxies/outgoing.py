"""What a proxy still has to send: bounded, joined, and written by one task.

Text that is sent faster than it can be written is joined to fewer, larger deltas, and
whoever sends more than fits waits. So a slow daemon slows the agent, a fast one gets
each token at once, and memory is bounded either way.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec
import trio

from protocol.wire import messages as wire
from protocol.wire.encodable import encodable
from protocol.wire.framing import frame

BATCH_BYTES: Final = 64 * 1024
"""Frames are joined up to this for one write; the kernel's buffers are of this order."""
DELTA_BYTES_MAX: Final = 1024 * 1024
"""Of the text of one delta; an eighth of what a frame may hold."""
JOIN_S: Final = 0.02
"""Text waits so long for more of it; anything else leaves at once, and the text before it."""
ROOM_BYTES: Final = 256 * 1024
ROOM_FRAMES: Final = 256
"""Who sends waits while more than this is unsent."""
UNSENT_FRAMES_MAX: Final = 1_024
UNSENT_BYTES_MAX: Final = 16 * 1024 * 1024
"""What does not wait (pongs, the ends of turns) may go this far, as on the daemon's side."""


class Congested(Exception):
    """The daemon takes nothing, and what cannot wait has filled the space that is left."""


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

    def __init__(self, stream: trio.abc.SendStream) -> None:
        self._stream = stream
        self._waiting: deque[bytes | _Text] = deque()
        self._urgent: deque[bytes] = deque()
        self._bytes = 0
        self._closing = False
        self._work = trio.Event()
        self._progress = trio.Event()
        self._done = trio.Event()
        self._due_at = 0.0
        self._at_once = trio.Event()

    async def put(self, message: wire.FromProxy) -> None:
        """Queue it once there is space."""
        await trio.lowlevel.checkpoint()
        while self._full and not self._done.is_set():
            await self._progress.wait()
        # No checkpoint from the look at the space to the entry: one message over at most.
        self.put_nowait(message)

    def put_nowait(self, message: wire.FromProxy) -> None:
        """Queue it without waiting. After :meth:`close` it is dropped.

        Raises:
            Congested: the limits of what may be unsent are passed.
            FrameTooLarge: the message alone is larger than a frame may be.
        """
        if self._closing or self._done.is_set():
            return
        if isinstance(message, wire.Delta):
            self._put_delta(message)
        else:
            body = frame(message)
            self._count(len(body))
            if isinstance(message, wire.Ping | wire.Pong):
                self._urgent.append(body)
            else:
                self._waiting.append(body)
            self._at_once.set()
        self._work.set()

    def _put_delta(self, delta: wire.Delta) -> None:
        try:
            size = len(delta.text.encode())
        except UnicodeEncodeError:
            delta = msgspec.structs.replace(delta, text=encodable(delta.text))
            size = len(delta.text.encode())
        last = self._waiting[-1] if self._waiting else None
        if isinstance(last, _Text) and last.joins(delta, size):
            self._bytes += size
            if self._bytes > BATCH_BYTES:
                self._at_once.set()
            return
        self._count(size)
        if not self._waiting:
            self._due_at = trio.current_time() + JOIN_S
        self._waiting.append(_Text(delta, size))

    def _count(self, size: int) -> None:
        frames = len(self._waiting) + len(self._urgent)
        if frames >= UNSENT_FRAMES_MAX or self._bytes + size > UNSENT_BYTES_MAX:
            raise Congested
        self._bytes += size

    @property
    def _full(self) -> bool:
        return self._bytes > ROOM_BYTES or len(self._waiting) > ROOM_FRAMES

    def close(self) -> None:
        """Take nothing more; the writer ends after what is queued."""
        self._closing = True
        self._at_once.set()
        self._work.set()

    async def run(self) -> None:
        """Write until closed and empty.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the stream is over. Part of a
                frame may be out, so it is of no more use.
        """
        try:
            while True:
                while self._waiting or self._urgent:
                    with trio.move_on_at(self._due_at):
                        await self._at_once.wait()
                    batch, size = self._take()
                    if not (self._waiting or self._urgent or self._closing):
                        self._at_once = trio.Event()
                    await self._stream.send_all(batch)
                    self._bytes -= size
                    self._progressed()
                if self._closing:
                    return
                self._work = trio.Event()
                await self._work.wait()
        finally:
            self._done.set()
            self._progressed()

    async def wait_done(self) -> None:
        """Wait until the writer has ended, whichever way."""
        await self._done.wait()

    def _progressed(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    def _take(self) -> tuple[bytes, int]:
        """Return what to write next, and as how much it was counted."""
        batch: list[bytes] = []
        size = written = 0
        while (self._urgent or self._waiting) and written < BATCH_BYTES:
            item = self._urgent.popleft() if self._urgent else self._waiting.popleft()
            if isinstance(item, _Text):
                size += item.size
                item = item.frame()
            else:
                size += len(item)
            written += len(item)
            batch.append(item)
        return b"".join(batch), size
