"""Undone: what keeps a row from being with nobody, and a wake from waking all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import trio

from actors.journal import actor as journal_actor
from actors.kit.mailbox import Reply
from actors.messages import journal, ownership
from actors.ownership.actor import _Ownership
from actors.ownership.offering import Offers
from actors.ownership.rows import Rows
from protocol.ids import ConnectionId, RowId
from protocol.routing import lease, targets
from protocol.routing.delivery import RowState
from tests.simulation.regressions.regression import replaced


class _Never:
    """A message that nobody sends."""


@contextmanager
def late_offer() -> Iterator[None]:
    """A release lets go of what memory knows, nobody sweeps, and a late offer is committed."""

    async def release(self: Rows, connection_id: ConnectionId) -> tuple[Any, ...]:
        connection = self._connections.pop(connection_id, None)
        held = tuple(connection.held.values()) if connection else ()
        if held:
            await self._release(connection_id, tuple(row.row_id for row in held))
        return held

    async def sweep(_self: Offers) -> None:
        await trio.sleep_forever()

    async def next_row(self: Rows, *args: Any, **fields: Any) -> Any:
        row = await original(self, *args, **fields)
        for connection in self._connections.values():
            connection.unsure = False
        return row

    original = Rows.next
    messages = SimpleNamespace(**{**vars(journal), "OfferNext": _Never})
    with (
        replaced(Rows, release=release, next=next_row),
        replaced(Offers, sweep=sweep),
        replaced(journal_actor, journal=messages),
    ):
        yield


@contextmanager
def no_sweep() -> Iterator[None]:
    """Rows that are offered to nobody are looked for at the next start only."""

    async def sweep(_self: Offers) -> None:
        await trio.sleep_forever()

    with replaced(Offers, sweep=sweep):
        yield


@contextmanager
def dead_asker() -> Iterator[None]:
    """Ownership waits for each commit of its loop, and gives rows to lanes that gave up."""

    async def answered(self: Rows, row_id: RowId) -> None:
        for connection in self._connections.values():
            for event_id, row in list(connection.held.items()):
                if row.row_id == row_id:
                    del connection.held[event_id]
        at_ms = self._now_ms()

        def close(reply: Reply[Any]) -> journal.Close:
            return journal.Close(
                row_id=row_id, state=RowState.ANSWERED, note=None, at_ms=at_ms, reply=reply
            )

        await self._journal.ask(close)

    async def offer_next(self: Offers, message: ownership.Next) -> None:
        with message.reply:
            session = self._state().sessions.get(message.session_id)
            if session is None or session.connection_id != message.connection_id or self.leaving:
                message.reply.send(())
                return
            message.reply.send(await self._next_rows(session))

    with replaced(Rows, answered=answered), replaced(Offers, offer_next=offer_next):
        yield


@contextmanager
def wake_all() -> Iterator[None]:
    """Each change of the lease or roster wakes all bound sessions, each wake by itself."""

    async def follow(
        self: _Ownership, old: lease.OwnershipState, new: lease.OwnershipState, *moved: Any
    ) -> None:
        await original(self, old, new, *moved)
        self._wake(targets.effective_target(new))
        for session_id in set(new.lease.bindings.values()):
            self._wake(session_id)

    original = _Ownership._follow
    with replaced(_Ownership, _follow=follow):
        yield
