"""Inbound rows: what each message about them does to the table.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec
import structlog

from actors.journal.correspondence import note_given
from actors.messages import journal
from protocol.ids import AccountId, EventId, RowId, SessionId
from protocol.routing.delivery import CLOSED_STATES, Inbound, Offer, Prepared, RowState

NOTE_CHARS_MAX: Final = 500
_CLOSED: Final = "('answered', 'command', 'damaged', 'expired', 'refused')"
"""As in the schema, to the letter: SQLite takes a partial index for its own words only."""
_DAMAGE: Final = (msgspec.MsgspecError, UnicodeError, TypeError)
"""What decoding a damaged row raises; an error of SQLite itself is no damage of a row."""

log = structlog.get_logger()

_encode = msgspec.msgpack.Encoder().encode
_decode_prepared = msgspec.msgpack.Decoder(Prepared).decode


def append(db: sqlite3.Connection, message: journal.Append) -> journal.Appended:
    """Store the event if it is new. A duplicate writes nothing and takes no number."""
    known = _known(db, message)
    if known is not None:
        return journal.Appended(row_id=known, duplicate=True)
    (row_id,) = db.execute(
        "INSERT INTO inbound (account, event_id, message_key, kind, state, received_at,"
        " changed_at) VALUES (?, ?, ?, ?, 'received', ?, ?) RETURNING row_id",
        (
            message.account,
            message.event_id,
            message.message_key,
            message.kind,
            message.received_at_ms,
            message.received_at_ms,
        ),
    ).fetchone()
    db.execute("INSERT INTO content (row_id, payload) VALUES (?, ?)", (row_id, message.payload))
    return journal.Appended(row_id=RowId(row_id), duplicate=False)


def _known(db: sqlite3.Connection, message: journal.Append) -> RowId | None:
    row = db.execute(
        "SELECT row_id FROM inbound WHERE event_id = ?", (message.event_id,)
    ).fetchone()
    if row is None and message.message_key is not None:
        row = db.execute(
            "SELECT row_id FROM inbound WHERE account = ? AND message_key = ?",
            (message.account, message.message_key),
        ).fetchone()
    return None if row is None else RowId(row[0])


def unprepared(db: sqlite3.Connection, message: journal.Unprepared) -> tuple[Inbound, ...]:
    """Return the next rows; a damaged one is set aside and does not count."""
    found: list[Inbound] = []
    after = message.after_row
    while len(found) < message.limit:
        page = db.execute(
            "SELECT row_id, account, event_id, kind, payload, received_at FROM inbound"
            " LEFT JOIN content USING (row_id) WHERE state = 'received' AND account = ?"
            " AND row_id > ? ORDER BY row_id LIMIT ?",
            (message.account, after, message.limit - len(found)),
        ).fetchall()
        if not page:
            break
        for row in page:
            after = RowId(row[0])
            try:
                found.append(_inbound(row))
            except _DAMAGE as damage:
                _set_aside(db, after, damage)
    return tuple(found)


def _inbound(row: tuple[Any, ...]) -> Inbound:
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
        Inbound,
        builtin_types=(bytes,),  # else a text in its place would pass for base64
    )


def dispatch(db: sqlite3.Connection, message: journal.Dispatch) -> journal.Done:
    return _change(
        db,
        "UPDATE inbound SET chat_id = ?1, heard_by ="
        " coalesce((SELECT session_id FROM binding WHERE chat_id = ?1), '')"
        " WHERE row_id = ?2 AND state = 'received' AND heard_by IS NULL",
        message.chat_id,
        message.row_id,
    )


def prepare(db: sqlite3.Connection, message: journal.Prepare) -> journal.Done | journal.LaneFull:
    """Make the row ready. What can't be stored as it is would fail for ever: set it aside."""
    if (
        message.capacity is not None
        and _waiting(db, message.capacity) >= message.capacity.waiting_max
    ):
        state = db.execute(
            "SELECT 1 FROM inbound WHERE row_id = ? AND state = 'received'", (message.row_id,)
        ).fetchone()
        return journal.Done(changed=False) if state is None else journal.LaneFull()
    try:
        blob = _encode(message.prepared)
        message.prepared.chat_id.encode()
    except _DAMAGE as damage:
        _set_aside(db, message.row_id, damage, only_if=RowState.RECEIVED)
        return journal.Done(changed=False)
    done = _change(
        db,
        "UPDATE inbound SET state = 'ready', chat_id = ?1, heard_by ="
        " coalesce(heard_by, (SELECT session_id FROM binding WHERE chat_id = ?1), '')"
        " WHERE row_id = ?2 AND state = 'received'",
        message.prepared.chat_id,
        message.row_id,
    )
    if done.changed:
        db.execute("UPDATE content SET prepared = ? WHERE row_id = ?", (blob, message.row_id))
    return done


def _waiting(db: sqlite3.Connection, capacity: journal.Capacity) -> int:
    """Count no further than the capacity."""
    return sum(
        count
        for queue in _queues(capacity.session_id, takes_unbound=capacity.takes_unbound)
        for (count,) in db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM inbound WHERE state = 'ready'"
            " AND heard_by = ? LIMIT ?)",
            (queue, capacity.waiting_max),
        )
    )


def waiting(db: sqlite3.Connection, message: journal.Waiting) -> tuple[journal.WaitingRow, ...]:
    first, second = (*_queues(message.session_id, takes_unbound=message.takes_unbound), None)[:2]
    found: list[journal.WaitingRow] = []
    for row_id, received_at, blob in db.execute(
        "SELECT row_id, received_at, prepared FROM inbound JOIN content USING (row_id)"
        " WHERE state = 'ready' AND heard_by IN (?, ?) ORDER BY row_id LIMIT ?",
        (first, second, message.limit),
    ).fetchall():
        try:
            prepared = _decode_prepared(blob)
        except _DAMAGE as damage:
            _set_aside(db, RowId(row_id), damage)
            continue
        found.append(
            journal.WaitingRow(row_id=RowId(row_id), received_at_ms=received_at, prepared=prepared)
        )
    return tuple(found)


def drop_waiting(db: sqlite3.Connection, message: journal.DropWaiting) -> tuple[RowId, ...]:
    return tuple(
        row_id
        for row_id in message.row_ids
        if _change(
            db,
            "UPDATE inbound SET state = 'expired', note = ?, changed_at = ?"
            " WHERE row_id = ? AND state = 'ready'",
            message.note,
            message.at_ms,
            row_id,
        ).changed
    )


def drop_message(db: sqlite3.Connection, message: journal.DropMessage) -> journal.Done:
    return _change(
        db,
        "UPDATE inbound SET state = 'expired', note = ?, changed_at = ?"
        " WHERE account = ? AND message_key = ? AND state IN ('received', 'ready')",
        message.note,
        message.at_ms,
        message.account,
        message.message_key,
    )


def close(db: sqlite3.Connection, message: journal.Close) -> journal.Done | journal.Failed:
    if message.state not in CLOSED_STATES:
        return journal.Failed(reason=f"a row can't be closed as {message.state}")
    return _close(db, message.row_id, message.state, message.note, message.at_ms)


def _close(
    db: sqlite3.Connection, row_id: RowId, state: RowState, note: str | None, at_ms: int
) -> journal.Done:
    """Close the row. Of an answered one only what de-duplication needs is kept."""
    done = _change(
        db,
        "UPDATE inbound SET state = ?, note = ?, changed_at = ?, connection_id = NULL"  # noqa: S608 -- our own constants
        f" WHERE row_id = ? AND state NOT IN {_CLOSED}",
        state.value,
        note,
        at_ms,
        row_id,
    )
    if done.changed and state is RowState.ANSWERED:
        db.execute("DELETE FROM content WHERE row_id = ?", (row_id,))
    return done


def offer_next(db: sqlite3.Connection, message: journal.OfferNext) -> Offer | None:
    while True:
        row_id = _oldest_for(db, message)
        if row_id is None:
            return None
        offered = db.execute(
            "UPDATE inbound SET state = 'offered', attempt = attempt + 1, connection_id = ?,"
            " session_id = ?, lease_epoch = ?, changed_at = ? WHERE row_id = ?"
            " RETURNING account, event_id, attempt, nullif(heard_by, ''),"
            " (SELECT prepared FROM content WHERE content.row_id = inbound.row_id)",
            (
                message.connection_id,
                message.session_id,
                message.lease_epoch,
                message.at_ms,
                row_id,
            ),
        ).fetchone()
        try:
            offer = _offer(row_id, message.lease_epoch, offered)
        except _DAMAGE as damage:
            _set_aside(db, row_id, damage)
            continue
        note_given(db, message.session_id, offer)
        return offer


def _oldest_for(db: sqlite3.Connection, message: journal.OfferNext) -> RowId | None:
    """One step into the index for each of the one or two queues routed to this session."""
    queues = _queues(message.session_id, takes_unbound=message.takes_unbound)
    oldest = [
        row[0]
        for queue in queues
        for row in db.execute(
            "SELECT row_id FROM inbound WHERE state = 'ready' AND heard_by = ?"
            " ORDER BY row_id LIMIT 1",
            (queue,),
        )
    ]
    return min(oldest, default=None)


def _queues(session_id: SessionId, *, takes_unbound: bool) -> tuple[str, ...]:
    return (session_id, "") if takes_unbound else (session_id,)


def _offer(row_id: RowId, lease_epoch: int, row: tuple[Any, ...]) -> Offer:
    account, event_id, attempt, dispatched_to, blob = row
    account.encode(), event_id.encode()  # raises for text that was no UTF-8
    return Offer(
        row_id=row_id,
        account=AccountId(account),
        event_id=EventId(event_id),
        attempt=attempt,
        lease_epoch=lease_epoch,
        dispatched_to=None if dispatched_to is None else SessionId(dispatched_to),
        prepared=_decode_prepared(blob),
    )


def _set_aside(
    db: sqlite3.Connection, row_id: RowId, damage: Exception, *, only_if: RowState | None = None
) -> None:
    """Take a damaged row out of the way, for a human to look at."""
    changed = _change(
        db,
        "UPDATE inbound SET state = 'damaged', note = ?, connection_id = NULL"
        " WHERE row_id = ? AND (?3 IS NULL OR state = ?3)",
        f"{type(damage).__name__}: {damage}"[:NOTE_CHARS_MAX],
        row_id,
        None if only_if is None else only_if.value,
    ).changed
    if changed:
        log.error("journal.row_damaged", row=row_id, reason=str(damage)[:NOTE_CHARS_MAX])


def acked(db: sqlite3.Connection, message: journal.Acked) -> journal.Done:
    return _change(
        db,
        "UPDATE inbound SET state = 'delivered', changed_at = ? WHERE event_id = ?"
        " AND state = 'offered' AND connection_id = ? AND attempt = ?",
        message.at_ms,
        message.event_id,
        message.connection_id,
        message.attempt,
    )


def release(db: sqlite3.Connection, message: journal.Release) -> journal.Done:
    sql = "UPDATE inbound SET state = 'ready', connection_id = NULL WHERE state = 'offered'"
    holder: tuple[int, ...] = ()
    if message.connection_id is not None:
        sql += " AND connection_id = ?"
        holder = (message.connection_id,)
    if message.row_ids is None:
        return _change(db, sql, *holder)
    sql += " AND row_id = ?"
    changed = [_change(db, sql, *holder, row_id).changed for row_id in message.row_ids]
    return journal.Done(changed=any(changed))


def queue(db: sqlite3.Connection, _message: journal.Queue) -> journal.QueueState:
    """Count what waits. It costs one walk over the waiting, never over the closed."""
    pending, oldest = db.execute(
        "SELECT count(*), min(received_at) FROM inbound WHERE state IN ('received', 'ready')"
    ).fetchone()
    (in_flight,) = db.execute("SELECT count(*) FROM inbound WHERE state = 'offered'").fetchone()
    (damaged,) = db.execute("SELECT count(*) FROM inbound WHERE state = 'damaged'").fetchone()
    return journal.QueueState(
        pending=pending, in_flight=in_flight, oldest_pending_at_ms=oldest, damaged=damaged
    )


def prune(db: sqlite3.Connection, message: journal.Prune) -> journal.Done:
    """Delete the oldest closed rows, and as many of all else that is as old.

    A row that was delivered as long ago is not going to be answered any more.
    """
    rows = _change(
        db,
        "DELETE FROM inbound WHERE row_id IN (SELECT row_id FROM inbound"  # noqa: S608 -- our own constants
        f" WHERE state IN {_CLOSED} AND received_at < ? ORDER BY received_at LIMIT ?)",
        message.before_ms,
        message.limit,
    )
    silent = _change(
        db,
        "DELETE FROM inbound WHERE row_id IN (SELECT row_id FROM inbound"
        " WHERE state = 'delivered' AND changed_at < ? ORDER BY changed_at LIMIT ?)",
        message.before_ms,
        message.limit,
    )
    cards = _change(
        db,
        "DELETE FROM card WHERE card_id IN (SELECT card_id FROM card"
        " WHERE closed_at IS NOT NULL AND closed_at < ? ORDER BY closed_at LIMIT ?)",
        message.before_ms,
        message.limit,
    )
    sent = _change(
        db,
        "DELETE FROM sent WHERE message_id IN (SELECT message_id FROM sent"
        " WHERE sent_at < ? ORDER BY sent_at LIMIT ?)",
        message.before_ms,
        message.limit,
    )
    return journal.Done(changed=rows.changed or silent.changed or cards.changed or sent.changed)


def _change(db: sqlite3.Connection, sql: str, *values: Any) -> journal.Done:
    return journal.Done(changed=db.execute(sql, values).rowcount > 0)
