"""Standard input and output for a protocol alone.

The descriptors 0 and 1 are moved aside, so that a stray print or a child process can't
get into the stream: what is printed goes to standard error.
"""

from __future__ import annotations

import os
import stat
from typing import Final

import trio

READ_BYTES: Final = 256 * 1024


class PrivateStdio:
    """The process's own input and output, moved to private descriptors."""

    def __init__(self) -> None:
        self._read_fd = os.dup(0)
        self._write_fd = os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        self._input: trio.abc.ReceiveStream | None = None
        self._output: trio.abc.SendStream | None = None
        if _can_wait(self._read_fd):
            self._input = trio.lowlevel.FdStream(self._read_fd)
        if _can_wait(self._write_fd):
            self._output = trio.lowlevel.FdStream(self._write_fd)

    async def read(self) -> bytes:
        """Return what comes in next; nothing at its end."""
        if self._input is not None:
            return bytes(await self._input.receive_some(READ_BYTES))
        # A file, as in a test by hand.
        return await trio.to_thread.run_sync(os.read, self._read_fd, READ_BYTES)

    async def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            trio.BrokenResourceError: nobody reads any more.
        """
        if self._output is not None:
            await self._output.send_all(data)
            return
        while data:
            data = data[await trio.to_thread.run_sync(os.write, self._write_fd, data) :]


def _can_wait(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)
