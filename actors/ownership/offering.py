"""Offers: a lane that is free is given its session's next row, and rows with nobody are found.

Part of the ownership actor; beside its loop, so that many sessions share one commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import structlog
import trio

from actors.messages import ownership
from actors.ownership.lanes import Lanes
from actors.ownership.rows import Rows
from actors.ownership.sessions import Sessions
from protocol.ids import ConnectionId, SessionId
from protocol.routing import lease, targets
from protocol.routing.delivery import Offer
from protocol.wire import vocabulary

SWEEP_EVERY_S: Final = 10.0
SWEEP_AGAIN_S: Final = 1.0

log = structlog.get_logger()


class Offers:
    def __init__(
        self,
        rows: Rows,
        sessions: Sessions,
        lanes: Lanes,
        state: Callable[[], lease.OwnershipState],
    ) -> None:
        self._rows = rows
        self._sessions = sessions
        self._lanes = lanes
        self._state = state
        self.leaving = False
        """No row is offered any more."""

    async def offer_next(self, message: ownership.Next) -> None:
        """Offer a lane its next rows. What changed meanwhile takes them back."""
        with message.reply:
            session = self._state().sessions.get(message.session_id)
            if session is None or session.connection_id != message.connection_id or self.leaving:
                message.reply.send(())
                return
            if message.reply.abandoned:
                return
            self._sessions.asks(session.session_id)
            try:
                rows = await self._next_rows(session)
            finally:
                self._sessions.answered(session.session_id)
            if not message.reply.send(rows):
                # Nobody is there to be given them; the lane asks again.
                for row in rows:
                    self._sessions.ended(row.row_id)
                await self._take_back(session.connection_id, rows)

    async def _next_rows(self, session: lease.Session) -> tuple[Offer, ...]:
        epoch = self._state().lease.epoch
        rows = await self._rows.next(
            session,
            epoch,
            takes_unbound=targets.effective_target(self._state()) == session.session_id,
        )
        while moved := tuple(row for row in rows if not self._still_routed(session, epoch, row)):
            rows = tuple(row for row in rows if row not in moved)
            await self._take_back(session.connection_id, moved)  # meanwhile others may move
        mode = self._sessions.reply_mode(session.session_id)
        offered: list[Offer] = []
        for row in rows:
            log.info(
                "row.offered",
                event_id=row.event_id,
                account=row.account,
                chat=row.prompt.chat_id,
                message=row.prompt.message_id,
                session=session.session_id,
                attempt=row.attempt,
                epoch=row.lease_epoch,
            )
            if vocabulary.CAPABILITY_TURNS in session.capabilities:
                self._sessions.began(session.session_id, row)
            offered.append(row if mode is None else msgspec.structs.replace(row, reply_mode=mode))
        return tuple(offered)

    async def _take_back(self, connection_id: ConnectionId, rows: tuple[Offer, ...]) -> None:
        """The rows wait again, for whoever each is routed to now."""
        found = (self._rows.holds(connection_id, row.event_id) for row in rows)
        held = tuple(one for one in found if one is not None)
        await self._rows.give_back(connection_id, held)
        for one in held:
            self._wake(targets.row_target(self._state(), one.dispatched_to))

    def _still_routed(self, session: lease.Session, epoch: int, row: Offer) -> bool:
        current = self._state().sessions.get(session.session_id)
        same = current is not None and current.connection_id == session.connection_id
        held = self._rows.holds(session.connection_id, row.event_id)
        routed = held is not None and (
            targets.row_target(self._state(), held.dispatched_to) == session.session_id
        )
        return same and routed and self._state().lease.epoch == epoch and not self.leaving

    async def sweep(self) -> None:
        """Find rows that are with nobody, at once after a doubt and now and then anyway.

        Whoever has rows waiting is woken: a wake that was lost delays a row by one sweep.
        """
        while True:
            await self._rows.wait_doubt(SWEEP_EVERY_S)
            found = await self._rows.sweep()
            if found is None:
                await trio.sleep(SWEEP_AGAIN_S)
                continue
            dispatched_to, sessions = found
            for one in dispatched_to:
                self._wake(targets.row_target(self._state(), one))
            for session_id in sessions:
                self._wake(session_id)

    def _wake(self, session_id: SessionId | None) -> None:
        if session_id is not None:
            self._lanes.wake(session_id)
