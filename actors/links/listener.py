"""The listener: every connection a link of its own, one link's end no other's."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import structlog
import trio

from actors.kit.descriptors import raise_limit
from actors.kit.listening import serve_borrowed
from actors.kit.tls import shake_hands
from actors.links.capacity import Places, capacity_of
from actors.links.link import Link
from actors.links.settings import LinkSettings
from actors.messages import ownership
from protocol.ids import ConnectionId
from protocol.wire.auth import WrongProofs

log = structlog.get_logger()


async def serve(
    listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
    settings: LinkSettings,
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve proxies on *listeners* until cancelled. One link's end is no other's.

    The listeners stay open and belong to the caller, so that a restart of the links
    does not lose the port.
    """
    wrong_proofs = WrongProofs()
    places = Places(settings.capacity or capacity_of(raise_limit()))

    async def guarded(stream: trio.abc.Stream) -> None:
        connection_id = settings.next_connection_id()
        with trio.CancelScope() as scope:
            places.enter(connection_id, lambda: scope.cancel(reason="a newer connection"))
            link = Link(stream, connection_id, settings, ownership_tx, wrong_proofs, places)
            try:
                async with stream:
                    if await shake_hands(stream):
                        await link.run()
            except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as lost:
                log.debug("link.broken", connection=connection_id, reason=repr(lost.exceptions[0]))
            except* Exception as crash:  # nothing one link does ends another
                log.exception("link.crashed", connection=connection_id, exc_info=crash)
            finally:
                places.leave(connection_id)
                if link.asked_in:
                    ends.add(connection_id)

    ends = _Ends(ownership_tx)
    await ownership_tx.send(ownership.LinksStarted())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.run)
        for listener in listeners:
            nursery.start_soon(serve_borrowed, listener, guarded, nursery)
        task_status.started()


class _Ends:
    """Connections that are over: kept until ownership has taken each.

    They are at most those it has admitted, or was asked to. What is left when the links end
    altogether is covered by the notice with which they start again.
    """

    def __init__(self, ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage]) -> None:
        self._ownership_tx = ownership_tx
        self._unsent: deque[ConnectionId] = deque()
        self._work = trio.Event()

    def add(self, connection_id: ConnectionId) -> None:
        self._unsent.append(connection_id)
        self._work.set()

    async def run(self) -> None:
        """Send until cancelled, in order, however long ownership takes."""
        while True:
            while self._unsent:
                ended = ownership.Disconnected(connection_id=self._unsent[0])
                await self._ownership_tx.send(ended)
                self._unsent.popleft()
            self._work = trio.Event()
            await self._work.wait()
