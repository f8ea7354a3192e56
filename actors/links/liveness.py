"""Whether the proxy is still there: a time limit to register, pings, and giving up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

from protocol.ids import ConnectionId
from protocol.wire import messages as wire

PING_AFTER_S: Final = 15.0
GIVE_UP_AFTER_S: Final = 45.0
BUSY_AGAIN_S: Final = 1.0
"""When to look again after a moment in which the reader was busy passing on."""

log = structlog.get_logger()


class Liveness:
    """When something of the proxy was last read, and whether its stream is being read now."""

    def __init__(self, connection_id: ConnectionId) -> None:
        self._id = connection_id
        self._received_at = trio.current_time()
        self._reading = True  # False while the reader is busy passing on what it read

    def reading(self) -> None:
        """The reader waits for the proxy."""
        self._reading = True

    def received(self) -> None:
        """Something came, and is being passed on."""
        self._reading = False
        self._received_at = trio.current_time()

    async def watch(self, ping: Callable[[wire.Ping], None]) -> None:
        """Ping a registered proxy that is silent; return when it is to be given up."""
        n = 0
        due = self._received_at + PING_AFTER_S
        while True:
            await trio.sleep_until(due)
            now = trio.current_time()
            silent_s = now - self._received_at
            if silent_s < PING_AFTER_S or not self._reading:
                # It sent something meanwhile, or it is we who have not read.
                due = max(self._received_at + PING_AFTER_S, now + BUSY_AGAIN_S)
            elif silent_s >= GIVE_UP_AFTER_S:
                log.warning("link.silent", connection=self._id, silent_s=round(silent_s))
                return
            else:
                n += 1
                ping(wire.Ping(n=n))
                due = min(now + PING_AFTER_S, self._received_at + GIVE_UP_AFTER_S)
