"""The way to one proxy, and the end of its link.

The parts of a link hold this and not the link, which holds them: with such a circle each
connection would stay in memory until the collector of garbage next looks at what is old.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from actors.kit.outbox import Outbox, OutboxFull
from actors.links.sending import fitting, is_remote, without_paths
from protocol.ids import ConnectionId
from protocol.wire import messages as wire
from protocol.wire.framing import frame

UNSENT_FRAMES_MAX: Final = 1_024
UNSENT_BYTES_MAX: Final = 16 * 1024 * 1024
RETRY_AFTER_MS: Final = 1_000

log = structlog.get_logger()


class FrameSender:
    """Queues what a proxy is sent, and ends its link."""

    def __init__(self, stream: trio.abc.Stream, connection_id: ConnectionId) -> None:
        self.outbox = Outbox(stream, frames_max=UNSENT_FRAMES_MAX, bytes_max=UNSENT_BYTES_MAX)
        self.reading = trio.CancelScope()
        """Of what reads from the proxy: it is over when the link ends."""
        self.lingers = False
        """Whether the proxy is left the time to read the last frame."""
        self._remote = is_remote(stream)
        self._id = connection_id

    def send(self, message: wire.FromDaemon) -> None:
        """Queue a message. A proxy that has left too many unread is given up."""
        if self._remote:
            message = without_paths(message)
        try:
            self.outbox.put(fitting(message))
        except OutboxFull:
            log.warning("link.slow_consumer", connection=self._id)
            self.end(
                wire.Bye(reason="slow_consumer", retry_after_ms=RETRY_AFTER_MS), drop_unsent=True
            )

    def end(self, last: wire.FromDaemon | None = None, *, drop_unsent: bool = False) -> None:
        """End the link: with *last* after what is queued, or at once before it."""
        self.outbox.close(None if last is None else frame(last), drop_unsent=drop_unsent)
        self.lingers = last is not None and not drop_unsent
        self.reading.cancel(reason="link ends")
