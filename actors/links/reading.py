"""Reading what a proxy sends: one system call, and one turn of the loop or less, for a packet.

larkd's own proxies send text that goes on every 200 ms. Another may send a packet for each
token: such text is read at common multiples of 100 ms, that of many proxies at once.
"""

from __future__ import annotations

import os
from typing import Final

import trio

from actors.kit.clock import next_multiple

READ_BYTES: Final = 256 * 1024
TOGETHER_S: Final = 0.1
"""So long at most what follows such text waits."""
FOUND_WITHIN_S: Final = 0.02
"""What is read so soon after a pause was there when it ended."""


class ProxyReader:
    """What reads the stream of one proxy; one task reads at a time."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._read_at = trio.current_time() - TOGETHER_S
        self._waits = False
        self._paused_until = 0.0

    async def read(self) -> bytes | bytearray:
        """Return what has come, as ``receive_some`` does: nothing at the end of the stream.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the stream is over.
        """
        if self._waits:
            self._paused_until = next_multiple(trio.current_time(), TOGETHER_S)
            await trio.sleep_until(self._paused_until)
        if self._socket is None:
            return await self._stream.receive_some(READ_BYTES)
        return await _read(self._socket, at_once=self._waits)

    def brought(self, *, text_alone: bool) -> None:
        """What was read is known now: whether it was text of turns and nothing else."""
        now = trio.current_time()
        comes_often = (
            now - self._paused_until < FOUND_WITHIN_S
            if self._waits
            else now - self._read_at < TOGETHER_S
        )
        self._waits = text_alone and comes_often
        self._read_at = now


async def _read(socket: trio.socket.SocketType, *, at_once: bool) -> bytes:
    """Wait, then read; *at_once*: something is there for sure, or almost.

    ``receive_some`` tries before it waits, and a proxy that streams has sent nothing yet each
    time: that try costs as much as the rest.
    """
    while True:
        if not at_once:
            await trio.lowlevel.wait_readable(socket)
        at_once = False
        try:
            return os.read(socket.fileno(), READ_BYTES)
        except BlockingIOError:
            continue
        except OSError as broken:
            raise trio.BrokenResourceError(f"socket connection broken: {broken}") from broken
