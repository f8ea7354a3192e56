"""What is still to be written to one stream: bounded, joined, and written by one task.

Anybody in the stream's actor may ``put``. Who must not wait for the peer gives it up when
the outbox is full; who may wait asks for :meth:`Outbox.space` first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import trio

BATCH_BYTES: Final = 64 * 1024
"""Frames are joined up to this for one write; the kernel's buffers are of this order."""

CLOCK_PRECISION_S: Final = 1e-3
"""What left so little before a multiple has left at it."""


class OutboxFull(Exception):
    """The peer reads too slowly: more is unsent than it may leave unsent."""


class Growing(Protocol):
    """A frame that is not made yet, because more may join it until it is written."""

    size: int

    def frame(self) -> bytes: ...


class Outbox:
    """Frames waiting for one stream, at most *frames_max* of them and *bytes_max* bytes.

    A frame that may grow waits *join_s* for more. What goes on leaves at the next multiple of
    *every_s* on *clock*: where many senders share that clock their frames arrive together,
    and who reads them wakes once for all. Anything else leaves at once, and what waits with it.
    """

    def __init__(
        self,
        stream: trio.abc.SendStream,
        *,
        frames_max: int,
        bytes_max: int,
        join_s: float = 0.0,
        every_s: float = 0.0,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._stream = stream
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._join_s = join_s
        self._every_s = every_s
        self._ahead_s = clock() - trio.current_time()
        self._grown_left_at = trio.current_time() - 2 * every_s
        self._frames: deque[bytes | Growing] = deque()
        self._bytes = 0
        self._closing = False
        self._work = trio.Event()
        self._at_once = trio.Event()
        self._due_at = 0.0
        self._progress = trio.Event()
        self._done = trio.Event()

    @property
    def over(self) -> bool:
        """Whether nothing is taken any more."""
        return self._closing or self._done.is_set()

    @property
    def last(self) -> bytes | Growing | None:
        """The frame after which the next one is written."""
        return self._frames[-1] if self._frames else None

    def put(self, frame: bytes | Growing, *, first: bool = False) -> None:
        """Queue one frame, or put it *first*. After :meth:`close` it is dropped.

        Raises:
            OutboxFull: nothing was queued; give the peer up.
        """
        if self.over:
            return
        size = len(frame) if isinstance(frame, bytes) else frame.size
        if len(self._frames) >= self._frames_max or self._bytes + size > self._bytes_max:
            raise OutboxFull
        self._bytes += size
        if isinstance(frame, bytes):
            self._at_once.set()
        elif not self._frames:
            self._due_at = max(trio.current_time() + self._join_s, self._next_multiple())
        (self._frames.appendleft if first else self._frames.append)(frame)
        self._work.set()

    def grew(self, size: int) -> None:
        """The last frame is larger by *size*."""
        self._bytes += size
        if self._bytes > BATCH_BYTES:
            self._at_once.set()

    async def space(self, *, frames: int, num_bytes: int) -> None:
        """Wait until no more than that is unsent, or the writer has ended.

        No checkpoint after the last look, so who puts one frame then is over by one at most.
        """
        await trio.lowlevel.checkpoint()
        while (self._bytes > num_bytes or len(self._frames) > frames) and not self._done.is_set():
            await self._progress.wait()

    def close(self, last: bytes | None = None, *, drop_unsent: bool = False) -> None:
        """Take nothing more; the writer ends after what is queued, and *last*."""
        if self._closing:
            return
        self._closing = True
        if drop_unsent:
            self._frames.clear()
        if last is not None:
            self._frames.append(last)
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
                while self._frames:
                    if not self._at_once.is_set():
                        with trio.move_on_at(self._due_at):
                            await self._at_once.wait()
                    batch = self._take()
                    if not self._frames and not self._closing:
                        self._at_once = trio.Event()
                    await self._stream.send_all(batch)
                    self._progressed()
                if self._closing:
                    return
                self._work = trio.Event()
                await self._work.wait()
        finally:
            self._done.set()
            self._progressed()

    async def flush(self) -> None:
        """Write what is queued now, for an owner that runs no writer yet.

        Raises the same as :meth:`run`.
        """
        while self._frames:
            await self._stream.send_all(self._take())

    async def wait_done(self) -> None:
        """Wait until the writer has ended, whichever way."""
        await self._done.wait()

    def _next_multiple(self) -> float:
        """Return when what follows the last frame that grew may leave."""
        if not self._every_s:
            return self._grown_left_at
        left_at = self._grown_left_at + self._ahead_s + CLOCK_PRECISION_S
        return (left_at // self._every_s + 1) * self._every_s - self._ahead_s

    def _progressed(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    def _take(self) -> bytes:
        batch: list[bytes] = []
        counted = written = 0
        while self._frames and (not batch or written + self._next_size() <= BATCH_BYTES):
            item = self._frames.popleft()
            if isinstance(item, bytes):
                body, size = item, len(item)
            else:
                body, size = item.frame(), item.size
                self._grown_left_at = trio.current_time()
            counted += size
            written += len(body)
            batch.append(body)
        self._bytes = max(0, self._bytes - counted)
        return b"".join(batch)

    def _next_size(self) -> int:
        following = self._frames[0]
        return len(following) if isinstance(following, bytes) else following.size
