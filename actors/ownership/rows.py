"""Which row is with which connection: the rows offered to a connection and not acked yet.

Part of the ownership actor, which alone uses it. What is kept here is bounded by
:data:`UNACKED_ROWS_MAX` for each live connection; everything else waits in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec
import structlog
import trio

from actors.kit.mailbox import Reply, ask_or
from actors.messages import journal, ownership
from protocol.ids import ChatId, ConnectionId, EventId, RowId, SessionId
from protocol.routing.delivery import Offer, RowState
from protocol.routing.lease import Session

COMMIT_WITHIN_S: Final = 4.0
"""Below the 5 s a link waits for its answer, so that it learns why."""
UNACKED_ROWS_MAX: Final = 64
"""Rows one connection may hold unacked; the rest waits in the journal."""

log = structlog.get_logger()

AnswerT = TypeVar("AnswerT")


class JournalClient:
    """Questions to the journal; one that is late or gone is a failure like any other."""

    def __init__(self, journal_tx: trio.MemorySendChannel[journal.JournalMessage]) -> None:
        self._journal_tx = journal_tx

    async def ask(
        self, build: Callable[[Reply[AnswerT]], journal.JournalMessage]
    ) -> AnswerT | journal.Failed:
        return await ask_or(
            self._journal_tx,
            build,
            within_s=COMMIT_WITHIN_S,
            otherwise=lambda reason: journal.Failed(reason=f"journal: {reason}"),
        )

    async def send(
        self, build: Callable[[Reply[journal.Done | journal.Failed]], journal.JournalMessage]
    ) -> None:
        """Send what needs no answer; its order among the questions is kept."""
        tx, rx = trio.open_memory_channel[journal.Done | journal.Failed](1)
        rx.close()
        await self._journal_tx.send(build(Reply(tx)))


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    """A row offered to a connection and not acked yet."""

    row_id: RowId
    chat_id: ChatId
    dispatched_to: SessionId | None
    attempt: int


class Rows:
    """Offers rows, takes acks, and lets go of what a connection will not ack."""

    def __init__(self, journal_client: JournalClient, now_ms: Callable[[], int]) -> None:
        self._journal = journal_client
        self._now_ms = now_ms
        self._held: dict[ConnectionId, dict[EventId, _Held]] = {}

    async def next(self, session: Session, epoch: int, *, takes_unbound: bool) -> Offer | None:
        """Offer the session its next row, committed as offered; None: nothing for it now."""
        held = self._held.setdefault(session.connection_id, {})
        if len(held) >= UNACKED_ROWS_MAX:
            return None  # an ack wakes the lane again
        answer: Offer | journal.Failed | None = await self._journal.ask(
            lambda reply: journal.OfferNext(
                session_id=session.session_id,
                takes_unbound=takes_unbound,
                connection_id=session.connection_id,
                lease_epoch=epoch,
                at_ms=self._now_ms(),
                reply=reply,
            )
        )
        match answer:
            case journal.Failed(reason=reason):
                log.error("row.not_offered", session=session.session_id, reason=reason)
                return None
            case None:
                return None
        held[answer.event_id] = _Held(
            row_id=answer.row_id,
            chat_id=answer.prepared.chat_id,
            dispatched_to=answer.dispatched_to,
            attempt=answer.attempt,
        )
        log.info(
            "row.offered",
            event_id=answer.event_id,
            account=answer.account,
            chat=answer.prepared.chat_id,
            message=answer.prepared.message_id,
            session=session.session_id,
            attempt=answer.attempt,
            epoch=answer.lease_epoch,
        )
        return answer

    async def acked(self, ack: ownership.RowAcked) -> bool:
        """Take an ack; return whether the connection may hold more because of it.

        Only the connection that holds this attempt of the row can ack it.
        """
        held = self._held.get(ack.connection_id, {})
        row = held.get(ack.event_id)
        if row is None or row.attempt != ack.attempt:
            return False
        # Not waited for: if it is not committed the row comes again, marked by its attempt.
        await self._journal.send(
            lambda reply: journal.Acked(
                event_id=ack.event_id,
                attempt=ack.attempt,
                connection_id=ack.connection_id,
                at_ms=self._now_ms(),
                reply=reply,
            )
        )
        was_full = len(held) >= UNACKED_ROWS_MAX
        del held[ack.event_id]
        log.info(
            "row.delivered",
            event_id=ack.event_id,
            chat=row.chat_id,
            connection=ack.connection_id,
            attempt=ack.attempt,
        )
        return was_full

    async def answered(self, row_id: RowId) -> None:
        """Close the row: its turn ended."""
        for held in self._held.values():
            for event_id, row in list(held.items()):
                if row.row_id == row_id:
                    del held[event_id]
        answer: journal.Done | journal.Failed = await self._journal.ask(
            lambda reply: journal.Close(
                row_id=row_id,
                state=RowState.ANSWERED,
                note=None,
                at_ms=self._now_ms(),
                reply=reply,
            )
        )
        if isinstance(answer, journal.Failed):
            log.error("row.end_not_stored", row=row_id, reason=answer.reason)

    async def release(
        self, connection_id: ConnectionId, row_ids: tuple[RowId, ...] | None = None
    ) -> None:
        """Rows this connection did not ack wait again, for whoever they are routed to now."""
        held = self._held.get(connection_id, {})
        if row_ids is None:
            self._held.pop(connection_id, None)
        else:
            for event_id in [key for key, row in held.items() if row.row_id in row_ids]:
                del held[event_id]
        if not held and row_ids is None:
            return
        answer: journal.Done | journal.Failed = await self._journal.ask(
            lambda reply: journal.Release(connection_id=connection_id, row_ids=row_ids, reply=reply)
        )
        if isinstance(answer, journal.Failed):
            log.error("row.not_released", connection=connection_id, reason=answer.reason)

    def held(self, connection_id: ConnectionId) -> tuple[tuple[RowId, SessionId | None], ...]:
        """Return the rows this connection holds unacked, and whom they were dispatched to."""
        rows = self._held.get(connection_id, {}).values()
        return tuple((row.row_id, row.dispatched_to) for row in rows)

    def move(self, chats: frozenset[ChatId], bindings: Mapping[ChatId, SessionId]) -> None:
        """Let rows of these chats follow the new binding, as they do in the journal."""
        for held in self._held.values():
            for event_id, row in held.items():
                if row.chat_id in chats:
                    held[event_id] = msgspec.structs.replace(
                        row, dispatched_to=bindings.get(row.chat_id)
                    )

    async def release_all(self) -> None:
        """Nobody is connected: whatever was offered before waits again."""
        answer: journal.Done | journal.Failed = await self._journal.ask(
            lambda reply: journal.Release(connection_id=None, row_ids=None, reply=reply)
        )
        if isinstance(answer, journal.Failed):
            log.error("row.not_released", reason=answer.reason)
