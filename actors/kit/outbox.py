"""What is still to be written to one stream: bounded, and written by one task.

Anybody in the stream's actor may ``put``; nobody waits for the peer but the writer.
"""

from __future__ import annotations

from collections import deque

import trio

BATCH_BYTES = 64 * 1024
"""Frames are joined up to this for one write; the kernel's buffers are of this order."""


class OutboxFull(Exception):
    """The peer reads too slowly: more is unsent than it may leave unsent."""


class Outbox:
    """Frames waiting for one stream, at most *frames_max* of them and *bytes_max* bytes."""

    def __init__(self, stream: trio.abc.SendStream, *, frames_max: int, bytes_max: int) -> None:
        self._stream = stream
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._closing = False
        self._work = trio.Event()
        self._done = trio.Event()

    def put(self, frame: bytes) -> None:
        """Queue one frame. After :meth:`close` it is dropped: the goodbye was the last.

        Raises:
            OutboxFull: nothing was queued; give the peer up.
        """
        if self._closing:
            return
        if len(self._frames) >= self._frames_max or self._bytes + len(frame) > self._bytes_max:
            raise OutboxFull
        self._frames.append(frame)
        self._bytes += len(frame)
        self._work.set()

    def close(self, last: bytes | None = None, *, drop_unsent: bool = False) -> None:
        """Take nothing more; the writer ends after what is queued, and *last*."""
        if self._closing:
            return
        self._closing = True
        if drop_unsent:
            self._frames.clear()
        if last is not None:
            self._frames.append(last)
        self._work.set()

    async def run(self) -> None:
        """Write until closed and empty.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the stream is over. Part of a
                frame may be out, so it is of no more use.
        """
        try:
            while True:
                while self._frames:
                    await self._stream.send_all(self._take())
                if self._closing:
                    return
                self._work = trio.Event()
                await self._work.wait()
        finally:
            self._done.set()

    async def wait_done(self) -> None:
        """Wait until the writer has ended, whichever way."""
        await self._done.wait()

    def _take(self) -> bytes:
        batch = [self._frames.popleft()]
        size = len(batch[0])
        while self._frames and size + len(self._frames[0]) <= BATCH_BYTES:
            batch.append(self._frames.popleft())
            size += len(batch[-1])
        self._bytes = max(0, self._bytes - size)
        return b"".join(batch)
