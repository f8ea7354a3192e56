"""Reading what a proxy sends: one system call and one turn of the loop for each packet."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

READ_BYTES: Final = 256 * 1024

Read = Callable[[], Awaitable[bytes | bytearray]]
"""Returns what has come, as ``receive_some`` does: nothing at the end of the stream.

Raises:
    trio.BrokenResourceError, trio.ClosedResourceError: the stream is over.
"""


def reader_of(stream: trio.abc.ReceiveStream) -> Read:
    """Return what reads *stream*; it has one reader at a time."""
    if isinstance(stream, trio.SocketStream):
        return partial(_read, stream.socket)
    return partial(stream.receive_some, READ_BYTES)


async def _read(socket: trio.socket.SocketType) -> bytes:
    """Wait, then read.

    ``receive_some`` tries before it waits, and a proxy that streams has sent nothing yet each
    time: that try costs as much as the rest.
    """
    while True:
        await trio.lowlevel.wait_readable(socket)
        try:
            return os.read(socket.fileno(), READ_BYTES)
        except BlockingIOError:
            continue  # what was there was not for us: a checksum was wrong
        except OSError as broken:
            raise trio.BrokenResourceError(f"socket connection broken: {broken}") from broken
