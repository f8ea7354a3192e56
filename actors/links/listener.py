"""The listener: every connection a link of its own, one link's end no other's."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import structlog
import trio

from actors.kit.listening import serve_borrowed
from actors.links.link import GOODBYE_WITHIN_S, Link, LinkSettings
from actors.messages import ownership
from protocol.ids import ConnectionId
from protocol.wire import messages as wire
from protocol.wire.auth import WrongProofs
from protocol.wire.framing import frame

CONNECTIONS_MAX: Final = 2_304
"""Sessions of a daemon at most, and capacity for observers and proxies still registering."""

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
    open_links = 0

    async def guarded(stream: trio.abc.Stream) -> None:
        nonlocal open_links
        if open_links >= CONNECTIONS_MAX:
            await _turn_away(stream)
            return
        open_links += 1
        connection_id = settings.next_connection_id()
        link = Link(stream, connection_id, settings, ownership_tx, wrong_proofs)
        try:
            async with stream:
                await link.run()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as lost:
            log.debug("link.broken", connection=connection_id, reason=repr(lost.exceptions[0]))
        finally:
            open_links -= 1
            if link.asked_in:
                ends.add(connection_id)

    ends = _Ends(ownership_tx)
    await ownership_tx.send(ownership.LinksStarted())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.run)
        for listener in listeners:
            nursery.start_soon(serve_borrowed, listener, guarded, nursery)
        task_status.started()


async def _turn_away(stream: trio.abc.Stream) -> None:
    refusal = wire.Refused(
        code="too_many_sessions",
        message=f"{CONNECTIONS_MAX} proxies are connected already; close some first",
    )
    with trio.move_on_after(GOODBYE_WITHIN_S):
        async with stream:
            await stream.send_all(frame(refusal))


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
