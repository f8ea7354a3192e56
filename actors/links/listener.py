"""The listener: every connection a link of its own, one link's end no other's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Final

import structlog
import trio

from actors.kit.descriptors import raise_limit
from actors.kit.listening import Borrowed, serve_borrowed
from actors.kit.peer_user import PeerUsers
from actors.kit.tls import TlsStream
from actors.kit.tls_serving import shake_hands
from actors.links.capacity import Places, capacity_of
from actors.links.common import Common
from actors.links.link import ProxyLink
from actors.links.notices import EndNotices
from actors.links.settings import LinkSettings
from actors.links.unproven import Opened, Rate, Unproven
from actors.messages import approvals, ownership
from protocol.wire.auth import WrongProofs

FOREIGN_AT_ONCE: Final = 256
FOREIGN_PER_S: Final = 200.0
"""Connections of other users, and of other machines, that are looked at."""

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
    serving = _Serving(settings, ownership_tx)
    over = serving.common.over
    await ownership_tx.send(ownership.LinksStarted())
    with closing(serving.users), serving.unproven as unproven:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving.ends.run)
            if over is not None:
                over.add(approvals.AllConnectionsOver())
                nursery.start_soon(over.run)
            nursery.start_soon(
                unproven.run, lambda *one: nursery.start_soon(serving.run_link, *one)
            )
            for listener in listeners:
                plain = listener.inner if isinstance(listener, Borrowed) else listener
                if isinstance(plain, trio.SocketListener):
                    nursery.start_soon(unproven.accept, plain)
                else:
                    nursery.start_soon(serve_borrowed, listener, serving.open_link, nursery)
            task_status.started()


class _Serving:
    """The links of one run of the listener."""

    def __init__(
        self,
        settings: LinkSettings,
        ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage],
    ) -> None:
        self._settings = settings
        self._ownership_tx = ownership_tx
        approvals_tx = settings.approvals_tx
        self.common = Common(
            wrong_proofs=WrongProofs(),
            places=Places(settings.capacity or capacity_of(raise_limit())),
            over=None if approvals_tx is None else EndNotices(approvals_tx),
        )
        self.ends = EndNotices(ownership_tx)
        self.users = PeerUsers()
        self._foreign = Rate(FOREIGN_AT_ONCE, FOREIGN_PER_S)
        self.unproven = Unproven(settings, self.common.places, self.users, self._foreign)

    async def run_link(self, stream: trio.abc.Stream, one: Opened) -> None:
        """Run the link of a connection that has its place."""
        link = ProxyLink(stream, one, self._settings, self._ownership_tx, self.common)
        with one.scope:
            try:
                async with stream:
                    try:
                        if await shake_hands(stream):
                            await link.run()
                    finally:
                        # Before the socket is closed: to a proxy that sees its link end and
                        # comes again at once, or acts through another, it has ended.
                        if link.asked_in:
                            over = ownership.ConnectionEnded(connection_id=one.connection_id)
                            self.ends.add(over)
            except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as lost:
                reason = repr(lost.exceptions[0])
                log.debug("link.broken", connection=one.connection_id, reason=reason)
            except* Exception as crash:  # nothing one link does ends another
                log.exception("link.crashed", connection=one.connection_id, exc_info=crash)
            finally:
                self.common.places.leave(one.connection_id)

    async def open_link(self, stream: trio.abc.Stream) -> None:
        """Give a connection its place that is no plain one of TCP, and run its link."""
        transport = stream.transport if isinstance(stream, TlsStream) else stream
        own = not isinstance(transport, trio.SocketStream) or self.users.is_own(transport.socket)
        if not own and not self._foreign.takes_one_more():
            await trio.aclose_forcefully(transport)
            return
        one = Opened(self._settings, self.common.places)
        drop = partial(one.scope.cancel, reason="a newer connection")
        self.common.places.enter(one.connection_id, drop, own=own)
        await self.run_link(stream, one)
