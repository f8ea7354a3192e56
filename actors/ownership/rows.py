"""Which row is with which connection: the rows offered to a connection and not acked yet.

Part of the ownership actor, which alone uses it. What is kept here is bounded by
:data:`UNACKED_ROWS_MAX` for each live connection; everything else waits in the journal.

The journal is what holds: a row that it has as offered and that nobody here holds is
given back by :meth:`Rows.sweep`, whatever went wrong on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import structlog
import trio

from actors.messages import journal
from actors.ownership.journal_client import JournalClient
from protocol.ids import (
    ConnectionId,
    EventId,
    PlaceKey,
    RowId,
    SessionId,
    chat_of,
    place_key,
    split_place,
)
from protocol.routing.delivery import Offer, RowState
from protocol.routing.lease import Session
from protocol.routing.targets import Moved, bound
from protocol.wire import messages as wire
from protocol.wire.vocabulary import CAPABILITY_TURNS

UNACKED_ROWS_MAX: Final = 64
"""Rows one connection may hold unacked; the rest waits in the journal."""
OFFERED_ROWS_MAX: Final = 16
"""Rows a channel session is offered in one commit."""

log = structlog.get_logger()


class OfferedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row offered to a connection and not acked yet."""

    row_id: RowId
    place: PlaceKey
    dispatched_to: SessionId | None
    attempt: int


class _Holdings:
    """What one live connection holds, and how its last offer went."""

    __slots__ = ("held", "offering", "session_id", "unsure")

    def __init__(self, session_id: SessionId) -> None:
        self.session_id = session_id
        self.held: dict[EventId, OfferedRow] = {}
        self.offering = False
        self.unsure = False
        """The journal may have offered it a row that nobody here knows of."""


class Rows:
    """Offers rows, takes acks, and lets go of what a connection will not ack."""

    def __init__(self, journal_client: JournalClient, now_ms: Callable[[], int]) -> None:
        self._journal = journal_client
        self._now_ms = now_ms
        self._connections: dict[ConnectionId, _Holdings] = {}
        self._doubt = trio.Event()

    async def release_all(self) -> str | None:
        """Let all that was offered before wait again, as nobody is connected; return a failure."""
        released: journal.Done | journal.Failed = await self._journal.ask(
            lambda reply: journal.Release(connection_id=None, row_ids=None, reply=reply)
        )
        return released.reason if isinstance(released, journal.Failed) else None

    def open(self, connection_id: ConnectionId, session_id: SessionId) -> None:
        """This connection speaks for a session from now on, and may hold rows."""
        self._connections[connection_id] = _Holdings(session_id)

    async def next(self, session: Session, epoch: int, *, takes_unbound: bool) -> tuple[Offer, ...]:
        """Offer the session its next rows, committed as offered: one where it runs turns."""
        connection = self._connections.get(session.connection_id)
        if connection is None or connection.offering or connection.unsure:
            return ()  # the sweep, or its newer connection, wakes the lane
        free = UNACKED_ROWS_MAX - len(connection.held)
        if free <= 0:
            return ()  # an ack wakes the lane again
        connection.offering = True
        answer: tuple[Offer, ...] | journal.Failed
        try:
            answer = await self._journal.ask(
                lambda reply: journal.OfferNext(
                    session_id=session.session_id,
                    takes_unbound=takes_unbound,
                    joins=CAPABILITY_TURNS in session.capabilities,
                    rows_max=min(free, OFFERED_ROWS_MAX),
                    connection_id=session.connection_id,
                    lease_epoch=epoch,
                    at_ms=self._now_ms(),
                    reply=reply,
                )
            )
        finally:
            connection.offering = False
        if isinstance(answer, journal.Failed):
            log.error("row.not_offered", session=session.session_id, reason=answer.reason)
            connection.unsure = True
            self._doubt.set()
            return ()
        if self._connections.get(session.connection_id) is not connection:
            return ()  # the end of the connection released what it was offered
        for offer in answer:
            connection.held[offer.event_id] = OfferedRow(
                row_id=offer.row_id,
                place=place_key(offer.account, offer.prompt.chat_id, offer.prompt.topic),
                dispatched_to=offer.dispatched_to,
                attempt=offer.attempt,
            )
        return answer

    def is_full(self, connection_id: ConnectionId) -> bool:
        """Whether the connection holds as many rows unacked as it may."""
        connection = self._connections.get(connection_id)
        return connection is not None and len(connection.held) >= UNACKED_ROWS_MAX

    async def acked(self, connection_id: ConnectionId, ack: wire.Ack) -> bool:
        """Take an ack; return whether the connection may hold more because of it.

        Only the connection that holds this attempt of the row can ack it.
        """
        connection = self._connections.get(connection_id)
        event_id = EventId(ack.event_id)
        row = connection.held.get(event_id) if connection else None
        if connection is None or row is None or row.attempt != ack.attempt:
            return False
        at_ms = self._now_ms()
        was_full = self.is_full(connection_id)
        del connection.held[event_id]
        await self._journal.write(
            row.row_id,
            lambda reply: journal.Acked(
                event_id=event_id,
                attempt=ack.attempt,
                connection_id=connection_id,
                at_ms=at_ms,
                reply=reply,
            ),
        )
        account, chat_id, _ = split_place(row.place)
        log.info(
            "row.delivered",
            event_id=event_id,
            account=account,
            chat=chat_id,
            session=connection.session_id,
            connection=connection_id,
            attempt=ack.attempt,
        )
        return was_full

    async def answered(self, row_id: RowId) -> None:
        """Close the row: its turn ended. It is closed once the journal can."""
        for connection in self._connections.values():
            for event_id, row in list(connection.held.items()):
                if row.row_id == row_id:
                    del connection.held[event_id]
        at_ms = self._now_ms()
        await self._journal.write(
            row_id,
            lambda reply: journal.Close(
                row_id=row_id, state=RowState.ANSWERED, note=None, at_ms=at_ms, reply=reply
            ),
        )

    async def release(self, connection_id: ConnectionId) -> tuple[OfferedRow, ...]:
        """The connection is over: what it did not ack waits again. Return what it held.

        Unconditional: the journal may have offered it more than is known here.
        """
        connection = self._connections.pop(connection_id, None)
        await self._release(connection_id, None)
        return tuple(connection.held.values()) if connection else ()

    async def give_back(self, connection_id: ConnectionId, rows: tuple[OfferedRow, ...]) -> None:
        """These rows of a live connection wait again."""
        connection = self._connections.get(connection_id)
        row_ids = tuple(row.row_id for row in rows)
        if connection is not None:
            for event_id, row in list(connection.held.items()):
                if row.row_id in row_ids:
                    del connection.held[event_id]
        await self._release(connection_id, row_ids)

    async def _release(
        self, connection_id: ConnectionId, row_ids: tuple[RowId, ...] | None
    ) -> None:
        """Send it, in order; if the journal fails to, the sweep does it."""
        await self._journal.send(
            lambda reply: journal.Release(connection_id=connection_id, row_ids=row_ids, reply=reply)
        )

    def holds(self, connection_id: ConnectionId, event_id: EventId) -> OfferedRow | None:
        """Return this row if the connection holds it unacked."""
        connection = self._connections.get(connection_id)
        return None if connection is None else connection.held.get(event_id)

    def held(self, connection_id: ConnectionId) -> tuple[OfferedRow, ...]:
        """Return the rows this connection holds unacked."""
        connection = self._connections.get(connection_id)
        return tuple(connection.held.values()) if connection else ()

    def move(self, moved: Moved, bindings: Mapping[PlaceKey, SessionId]) -> None:
        """Let rows of these places follow the new binding, as they do in the journal."""
        if not moved.places:
            return
        for connection in self._connections.values():
            for event_id, row in connection.held.items():
                if row.dispatched_to in moved.staying:
                    continue
                follows = chat_of(row.place) in moved.places and row.place not in bindings
                if row.place in moved.places or follows:
                    connection.held[event_id] = msgspec.structs.replace(
                        row, dispatched_to=bound(bindings, row.place)
                    )

    # ── what the journal has and nobody here knows ──────────────────────────

    async def wait_doubt(self, within_s: float) -> None:
        """Wait until an offer went wrong, or until *within_s* is over."""
        with trio.move_on_after(within_s):
            await self._doubt.wait()
        self._doubt = trio.Event()

    async def sweep(self) -> tuple[frozenset[SessionId | None], tuple[SessionId, ...]] | None:
        """Give back every row that is offered and that nobody holds.

        Returns whom the rows that wait are dispatched to, those and all others, and the
        sessions that may be offered rows again; None: the journal failed, so nothing is known.
        """
        unsure = [one for one in self._connections.values() if one.unsure]
        held = {
            row.row_id for one in self._connections.values() for row in one.held.values()
        } | self._journal.writing
        offering = {key for key, one in self._connections.items() if one.offering}
        answer: journal.Released | journal.Failed = await self._journal.ask(
            lambda reply: journal.ReleaseUnknown(
                held=frozenset(held), connections=frozenset(offering), reply=reply
            )
        )
        if isinstance(answer, journal.Failed):
            log.error("row.not_swept", reason=answer.reason)
            if unsure:
                self._doubt.set()
            return None
        for connection in unsure:
            connection.unsure = False
        return answer.dispatched_to, tuple(one.session_id for one in unsure)
