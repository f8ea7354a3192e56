"""The rows of stored events: what each message about them does to the table.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import structlog

from actors.journal.correspondence import note_given
from actors.journal.db import Db, Later, ResultRows, change, the_one
from actors.journal.joined import together
from actors.journal.prompts import decode_prompt
from actors.journal.states import CLOSED
from actors.journal.waiting import DAMAGE, queues_of, refuse_if_full, set_aside
from actors.messages import journal
from protocol.ids import AccountId, EventId, RowId, SessionId
from protocol.routing import joining
from protocol.routing.delivery import CLOSED_STATES, Offer, RowState, StoredEvent
from protocol.routing.history import LANE_FULL

_CHAT: Final = "CASE account WHEN 'default' THEN ?1 ELSE account || '/' || ?1 END"
BOUND_TO: Final = (
    "coalesce((SELECT session_id FROM binding WHERE binding.chat_id ="  # noqa: S608 -- our own constants
    f" {_CHAT} || '#' || CAST(?3 AS TEXT)),"
    f" (SELECT session_id FROM binding WHERE binding.chat_id = {_CHAT}), '')"
)
"""The session that the topic ?3 of the chat ?1 of the row's account is bound to, else the chat;
'' for neither. ``place_key`` and ``lease.bound`` in SQL."""
_DELIVERED: Final = "UPDATE inbound SET state = 'delivered', changed_at = ?1, seen_at = ?1"
_HELD: Final = "event_id = ?2 AND state = 'offered' AND connection_id = ?3 AND attempt = ?4"

log = structlog.get_logger()

_encode = msgspec.msgpack.Encoder().encode


def append(db: Db, message: journal.Append) -> journal.Appended:
    """Store the event if it is new. A duplicate writes nothing and takes no number."""
    known = _known(db, message)
    if known is not None:
        return journal.Appended(row_id=known, duplicate=True)
    (row_id,) = the_one(
        db.execute(
            "INSERT INTO inbound (account, event_id, message_key, kind, state, received_at,"
            " changed_at) VALUES (?1, ?2, ?3, ?4, 'received', ?5, ?5) RETURNING row_id",
            message.account,
            message.event_id,
            message.message_key,
            message.kind,
            message.received_at_ms,
        )
    )
    db.execute("INSERT INTO content (row_id, payload) VALUES (?1, ?2)", row_id, message.payload)
    return journal.Appended(row_id=RowId(row_id), duplicate=False)


def _known(db: Db, message: journal.Append) -> RowId | None:
    row = db.execute("SELECT row_id FROM inbound WHERE event_id = ?1", message.event_id).one()
    if row is None and message.message_key is not None:
        row = db.execute(
            "SELECT row_id FROM inbound WHERE account = ?1 AND message_key = ?2",
            message.account,
            message.message_key,
        ).one()
    return None if row is None else RowId(row[0])


def unprepared(db: Db, message: journal.Unprepared) -> Later[tuple[StoredEvent, ...]]:
    """Return the next rows; a damaged one is set aside and does not count."""
    first = _ask_page(db, message.account, message.after_row, message.limit)
    return Later(lambda: _unprepared(db, message, first))


def _unprepared(db: Db, message: journal.Unprepared, rows: ResultRows) -> tuple[StoredEvent, ...]:
    found: list[StoredEvent] = []
    page, asked = rows.all(), message.limit
    while True:
        for row in page:
            try:
                found.append(_inbound(row))
            except DAMAGE as damage:
                set_aside(db, RowId(row[0]), damage)
        if len(page) < asked or len(found) >= message.limit:
            return tuple(found)
        asked = message.limit - len(found)
        page = _ask_page(db, message.account, RowId(page[-1][0]), asked).all()


def _ask_page(db: Db, account: AccountId, after: RowId, limit: int) -> ResultRows:
    return db.execute(
        "SELECT row_id, account, event_id, kind, payload, received_at FROM inbound"
        " LEFT JOIN content USING (row_id) WHERE state = 'received' AND account = ?1"
        " AND row_id > ?2 ORDER BY row_id LIMIT ?3",
        account,
        after,
        limit,
    )


def _inbound(row: tuple[Any, ...]) -> StoredEvent:
    row_id, account, event_id, kind, payload, received_at = row
    event_id.encode()  # raises for text that was no UTF-8
    return msgspec.convert(
        {
            "row_id": row_id,
            "account": account,
            "event_id": event_id,
            "kind": kind,
            "payload": payload,
            "received_at_ms": received_at,
        },
        StoredEvent,
        builtin_types=(bytes,),  # else a text in its place would pass for base64
    )


def dispatch(db: Db, message: journal.Dispatch) -> Later[journal.Done]:
    return change(
        db,
        "UPDATE inbound SET chat_id = ?1, topic = ?3, routed_to = "  # noqa: S608 -- our own constants
        f"{BOUND_TO} WHERE row_id = ?2 AND state = 'received' AND routed_to IS NULL",
        message.chat_id,
        message.row_id,
        message.topic,
    )


def prepare(db: Db, message: journal.Prepare) -> Later[journal.Done | journal.LaneFull]:
    """Make the rows of one prompt ready, unless their lane is full or once was.

    That a prompt is refused is noted in its rows, and stands: its sender may be notified of it
    in the next run only, and later prompts of the chat may have been given meanwhile.
    """
    if message.capacity is not None:
        for one in message.rows:
            refuse_if_full(db, one.row_id, message.capacity)
    noted = [
        db.execute(
            "SELECT 1 FROM inbound WHERE row_id = ?1 AND state = 'received' AND note = ?2",
            one.row_id,
            LANE_FULL,
        )
        for one in message.rows
    ]
    changed = [_make_ready(db, one, message.joined_to) for one in message.rows]

    def outcome() -> journal.Done | journal.LaneFull:
        if any(row.one() is not None for row in noted):
            return journal.LaneFull()
        return journal.Done(changed=any(row is not None and row.count() for row in changed))

    return Later(outcome)


def _make_ready(db: Db, row: journal.PreparedRow, joined_to: RowId | None) -> ResultRows | None:
    """Make one row ready. What can't be stored as it is would fail for ever: set it aside."""
    try:
        blob = _encode(row.prompt)
        row.prompt.chat_id.encode()
    except DAMAGE as damage:
        set_aside(db, row.row_id, damage, only_if=RowState.RECEIVED)
        return None
    # The content first, while the row's state still decides whether it may be written.
    db.execute(
        "UPDATE content SET prepared = ?1 WHERE row_id = ?2 AND EXISTS"
        " (SELECT 1 FROM inbound WHERE row_id = ?2 AND state = 'received')",
        blob,
        row.row_id,
    )
    return db.execute(
        "UPDATE inbound SET state = 'ready', chat_id = ?1, topic = ?3, joined_to = ?4, routed_to ="  # noqa: S608 -- likewise
        " coalesce(routed_to, (SELECT first.routed_to FROM inbound AS first"
        f" WHERE first.row_id = ?4), {BOUND_TO}) WHERE row_id = ?2 AND state = 'received'"
        " AND note IS NULL",
        row.prompt.chat_id,
        row.row_id,
        row.prompt.topic,
        joined_to,
    )


def close(db: Db, message: journal.Close) -> Later[journal.Done] | journal.Failed:
    if message.state not in CLOSED_STATES:
        return journal.Failed(reason=f"a row can't be closed as {message.state}")
    # Of an answered one only what de-duplication needs is kept.
    if (
        message.state is RowState.ANSWERED
    ):  # first, while the row's state still decides whether it may go
        db.execute(
            f"DELETE FROM content WHERE row_id IN {together('?1')}"  # noqa: S608 -- our own constants
            " AND EXISTS (SELECT 1 FROM inbound WHERE inbound.row_id = content.row_id"
            f" AND NOT ({CLOSED}))",
            message.row_id,
        )
    return change(
        db,
        "UPDATE inbound SET state = ?1, note = ?2, changed_at = ?3, connection_id = NULL,"  # noqa: S608 -- our own constants
        " chat_id = coalesce(chat_id, CAST(?5 AS TEXT))"
        f" WHERE row_id IN {together('?4')} AND NOT ({CLOSED})",
        message.state.value,
        message.note,
        message.at_ms,
        message.row_id,
        message.chat_id,
    )


def offer_next(db: Db, message: journal.OfferNext) -> tuple[Offer, ...]:
    return _next_prompt(db, message) if message.joins else _next_rows(db, message)


def _next_prompt(db: Db, message: journal.OfferNext) -> tuple[Offer, ...]:
    """Offer the row that was ready first, with those joined to it."""
    while row_ids := _oldest_for(db, message):
        offers = [offer for row_id in row_ids if (offer := _offer(db, row_id, message)) is not None]
        if offers:
            whole = joining.prompt_of([one.prompt for one in offers])
            more = bool(_oldest_ready(db, message, 1))
            offer = msgspec.structs.replace(offers[0], prompt=whole, more=more)
            note_given(db, message.session_id, offer)
            return (offer,)
    return ()


def _next_rows(db: Db, message: journal.OfferNext) -> tuple[Offer, ...]:
    """Offer as many rows as are asked for, each alone."""
    while ready := _oldest_ready(db, message, message.rows_max + 1):
        taken, rest = ready[: message.rows_max], ready[message.rows_max :]
        found = [offer for row_id, _ in taken if (offer := _offer(db, row_id, message)) is not None]
        if found:
            places = {(one.account, one.prompt.chat_id, one.prompt.thread_id): one for one in found}
            for last in places.values():
                note_given(db, message.session_id, last)
            found[-1] = msgspec.structs.replace(found[-1], more=bool(rest))
            return tuple(found)
    return ()


def _oldest_ready(
    db: Db, message: journal.OfferNext, limit: int
) -> list[tuple[RowId, RowId | None]]:
    """Return the rows that were ready first, each with what it is joined to.

    One step into the index for each of the one or two queues routed to this session.
    """
    queues = queues_of(message.session_id, takes_unbound=message.takes_unbound)
    heads = [
        db.execute(
            "SELECT row_id, joined_to FROM inbound WHERE state = 'ready' AND routed_to = ?1"
            " ORDER BY row_id LIMIT ?2",
            queue,
            limit,
        )
        for queue in queues
    ]
    return sorted(row for head in heads for row in head.all())[:limit]


def _oldest_for(db: Db, message: journal.OfferNext) -> list[RowId]:
    """Return the row that was ready first and those joined to it, in order."""
    ready = _oldest_ready(db, message, 1)
    if not ready:
        return []
    row_id, joined_to = ready[0]
    if joined_to is None:
        return [row_id]
    rows = db.execute(
        "SELECT other.row_id FROM inbound AS one JOIN inbound AS other"
        " ON other.joined_to = one.joined_to AND other.state = one.state"
        " AND other.routed_to = one.routed_to WHERE one.row_id = ?1 ORDER BY other.row_id",
        row_id,
    )
    return [RowId(one) for (one,) in rows.all()]


def _offer(db: Db, row_id: RowId, message: journal.OfferNext) -> Offer | None:
    """Commit one row as offered; None: it was damaged, and is set aside."""
    # Read first: an UPDATE that returns what it changed costs twice as much as both.
    found = db.execute(
        "SELECT account, event_id, attempt, nullif(routed_to, ''), prepared FROM inbound"
        " LEFT JOIN content USING (row_id) WHERE row_id = ?1",
        row_id,
    )
    account, event_id, attempts, dispatched_to, blob = the_one(found)
    db.execute(
        "UPDATE inbound SET state = 'offered', attempt = attempt + 1, connection_id = ?1,"
        " session_id = ?2, lease_epoch = ?3, changed_at = ?4, offered_at = ?4,"
        " joined_to = CASE WHEN ?6 = 1 THEN joined_to END WHERE row_id = ?5",
        message.connection_id,
        message.session_id,
        message.lease_epoch,
        message.at_ms,
        row_id,
        int(message.joins),
    )
    try:
        account.encode(), event_id.encode()  # raises for text that was no UTF-8
        return Offer(
            row_id=row_id,
            account=AccountId(account),
            event_id=EventId(event_id),
            attempt=attempts + 1,
            lease_epoch=message.lease_epoch,
            dispatched_to=None if dispatched_to is None else SessionId(dispatched_to),
            prompt=decode_prompt(blob),
        )
    except DAMAGE as damage:
        set_aside(db, row_id, damage)
        return None


def acked(db: Db, message: journal.Acked) -> Later[journal.Done]:
    held = (message.at_ms, message.event_id, message.connection_id, message.attempt)
    # Apart, and first: one statement for the row and those joined to it, which nearly always
    # are none, builds a table of them for each ack and costs four times as much.
    db.execute(
        f"{_DELIVERED} WHERE joined_to = (SELECT joined_to FROM inbound WHERE {_HELD})"  # noqa: S608 -- our own constants
        " AND state = 'offered' AND connection_id = ?3 AND event_id <> ?2",
        *held,
    )
    return change(db, f"{_DELIVERED} WHERE {_HELD}", *held)


def release(db: Db, message: journal.Release) -> Later[journal.Done]:
    sql = "UPDATE inbound SET state = 'ready', connection_id = NULL WHERE state = 'offered'"
    of_connection = () if message.connection_id is None else (message.connection_id,)
    if of_connection:
        sql += " AND connection_id = ?1"
    if message.row_ids is None:
        return change(db, sql, *of_connection)
    sql += f" AND row_id IN {together(f'?{len(of_connection) + 1}')}"
    released = [db.execute(sql, *of_connection, row_id) for row_id in message.row_ids]
    return Later(lambda: journal.Done(changed=any(rows.count() for rows in released)))


def prune(db: Db, message: journal.Prune) -> Later[journal.Done]:
    """Delete the oldest closed rows, and as many of all else that is as old.

    A row that was delivered as long ago is not going to be answered any more.
    """
    rows = db.execute(
        "DELETE FROM inbound WHERE row_id IN (SELECT row_id FROM inbound"  # noqa: S608 -- our own constants
        f" WHERE {CLOSED} AND received_at < ?1 ORDER BY received_at LIMIT ?2)",
        message.before_ms,
        message.limit,
    )
    silent = db.execute(
        "DELETE FROM inbound WHERE row_id IN (SELECT row_id FROM inbound"
        " WHERE state = 'delivered' AND changed_at < ?1 ORDER BY changed_at LIMIT ?2)",
        message.before_ms,
        message.limit,
    )
    cards = db.execute(
        "DELETE FROM card WHERE card_id IN (SELECT card_id FROM card"
        " WHERE closed_at IS NOT NULL AND closed_at < ?1 ORDER BY closed_at LIMIT ?2)",
        message.before_ms,
        message.limit,
    )
    sent = db.execute(
        "DELETE FROM sent WHERE message_id IN (SELECT message_id FROM sent"
        " WHERE sent_at < ?1 ORDER BY sent_at LIMIT ?2)",
        message.before_ms,
        message.limit,
    )
    deleted = (rows, silent, cards, sent)
    return Later(lambda: journal.Done(changed=any(one.count() for one in deleted)))
