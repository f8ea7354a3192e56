"""Length-prefixed MessagePack frames, sans I/O: bytes in, bodies out.

A frame is a big-endian ``uint32`` length and that many bytes of body. The claimed
length is checked before a byte of the body is kept, so a peer cannot make us
allocate what it has not sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from protocol.errors import RemoteProtocolError
from protocol.wire.codec import encode
from protocol.wire.encodable import encodable
from protocol.wire.messages import FromDaemon, FromProxy

BODY_BYTES_MAX: Final = 8 * 1024 * 1024
"""The contract's limit of one body, 8 MiB."""
EARLY_BODY_BYTES_MAX: Final = 256 * 1024
"""Before registration: who has proved nothing can make us keep no more."""
HEADER_BYTES: Final = 4
LARGE_BODY_BYTES: Final = 64 * 1024
"""From here on a body is handed out as it was received, and not copied."""

FrameBody = bytes | memoryview
"""Of one frame. A view is of memory of its own, which is free when the view is."""


def frame(message: FromProxy | FromDaemon) -> bytes:
    """Return *message* as one frame, ready for the socket.

    Half of a surrogate pair, as JSON can carry it, is no text: it becomes a question mark.

    Raises:
        FrameTooLarge: the encoded body passes 8 MiB; nothing can be sent.
    """
    try:
        body = encode(message)
    except UnicodeEncodeError:
        body = encode(msgspec.convert(encodable(msgspec.to_builtins(message)), type(message)))
    if len(body) > BODY_BYTES_MAX:
        raise FrameTooLarge(type(message).__name__, len(body))
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class FrameTooLarge(ValueError):
    """One of our own messages does not fit into a frame."""

    def __init__(self, kind: str, size: int) -> None:
        super().__init__(f"a {kind} of {size} bytes does not fit into {BODY_BYTES_MAX}")
        self.size = size


class FrameReader:
    """Turns what the socket gave into bodies.

    Feed it with :meth:`feed`, then iterate: it yields each complete body and stops
    where bytes are missing. After it raised it is of no more use: the stream is
    out of step.
    """

    __slots__ = ("_buffer", "body_bytes_max")

    def __init__(self, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self.body_bytes_max = body_bytes_max
        """May be raised while reading: it holds for the next frame."""

    def feed(self, data: bytes | bytearray) -> None:
        self._buffer += data

    @property
    def unfinished(self) -> int:
        """How large the body will be of which the beginning is here, 0 where none is."""
        return int.from_bytes(self._buffer[:HEADER_BYTES], "big") * (
            len(self._buffer) >= HEADER_BYTES
        )

    def clear(self) -> None:
        """Let go of what is unfinished: the stream is over."""
        self._buffer = bytearray()

    def __iter__(self) -> Iterator[FrameBody]:
        """Yield complete bodies.

        Raises:
            RemoteProtocolError: a length of 0 or over the limit (``bad_frame``).
        """
        start = 0
        try:
            while len(self._buffer) - start >= HEADER_BYTES:
                size = int.from_bytes(self._buffer[start : start + HEADER_BYTES], "big")
                if not 0 < size <= self.body_bytes_max:
                    raise RemoteProtocolError(
                        f"a frame of {size} bytes; the body is 1 to {self.body_bytes_max} bytes"
                    )
                begin, end = start + HEADER_BYTES, start + HEADER_BYTES + size
                if end > len(self._buffer):
                    return
                if size < LARGE_BODY_BYTES:
                    start = end
                    yield bytes(self._buffer[begin:end])
                else:
                    start = 0
                    yield self._cut(begin, end)
        finally:
            # One cut for all bodies of a read keeps the cost linear.
            del self._buffer[:start]

    def _cut(self, begin: int, end: int) -> memoryview:
        """Return a body as it lies in the buffer, and go on with a buffer of what follows it."""
        received = self._buffer
        self._buffer = received[end:]
        return memoryview(received)[begin:end]
