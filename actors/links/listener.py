"""The listener: every connection a link of its own, one link's end no other's."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
import trio

from actors.kit.descriptors import raise_limit
from actors.kit.listening import serve_borrowed
from actors.kit.tls import shake_hands
from actors.links.capacity import Places, capacity_of
from actors.links.common import Common
from actors.links.link import ProxyLink
from actors.links.notices import EndNotices
from actors.links.sending import close_now, is_of_this_user
from actors.links.settings import LinkSettings
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
    places = Places(settings.capacity or capacity_of(raise_limit()))
    approvals_tx = settings.approvals_tx
    common = Common(
        wrong_proofs=WrongProofs(),
        places=places,
        over=None if approvals_tx is None else EndNotices(approvals_tx),
    )

    own: weakref.WeakSet[trio.abc.Stream] = weakref.WeakSet()

    async def guarded(stream: trio.abc.Stream) -> None:
        connection_id = settings.next_connection_id()
        with trio.CancelScope() as scope:
            drop = partial(scope.cancel, reason="a newer connection")
            places.enter(connection_id, drop, own=stream in own)
            link = ProxyLink(stream, connection_id, settings, ownership_tx, common)
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
                    ends.add(ownership.ConnectionEnded(connection_id=connection_id))

    ends = EndNotices(ownership_tx)
    await ownership_tx.send(ownership.LinksStarted())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.run)
        if common.over is not None:
            common.over.add(approvals.AllConnectionsOver())
            nursery.start_soon(common.over.run)
        for listener in listeners:
            nursery.start_soon(serve_borrowed, _Turnstile(listener, own), guarded, nursery)
        task_status.started()


class _Turnstile(trio.abc.Listener[trio.abc.Stream]):
    """Accepts everybody of this user, and of others no more than a rate.

    A flood of them is closed as fast as it comes, so that nobody waits long for it.
    """

    def __init__(
        self, inner: trio.abc.Listener[trio.abc.Stream], own: weakref.WeakSet[trio.abc.Stream]
    ) -> None:
        self._inner = inner
        self._own = own
        """Those of this user, which is asked once for each."""
        self._left = float(FOREIGN_AT_ONCE)
        self._at = trio.current_time()

    async def accept(self) -> trio.abc.Stream:
        while True:
            stream = await self._inner.accept()
            if is_of_this_user(stream):
                self._own.add(stream)
                return stream
            if self._takes_one_more():
                return stream
            close_now(stream)

    def _takes_one_more(self) -> bool:
        now = trio.current_time()
        more = (now - self._at) * FOREIGN_PER_S
        self._left, self._at = min(FOREIGN_AT_ONCE, self._left + more), now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    async def aclose(self) -> None:
        await self._inner.aclose()
