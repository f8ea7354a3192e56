"""Inbound rows: what each message about them does to the table.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import structlog

from actors.journal.commands import COUNT_CLAIMED
from actors.journal.correspondence import note_given
from actors.journal.db import Db, Later, change, the_one
from actors.messages import journal
from protocol.ids import AccountId, EventId, RowId, SessionId
from protocol.routing.delivery import CLOSED_STATES, Inbound, Offer, Prepared, RowState

NOTE_CHARS_MAX: Final = 500
_CHAT: Final = "CASE account WHEN 'default' THEN ?1 ELSE account || '/' || ?1 END"
BOUND_TO: Final = (
    "coalesce((SELECT session_id FROM binding WHERE binding.chat_id ="  # noqa: S608 -- our own constants
    f" {_CHAT} || '#' || CAST(?3 AS TEXT)),"
    f" (SELECT session_id FROM binding WHERE binding.chat_id = {_CHAT}), '')"
)
"""The session that the topic ?3 of the chat ?1 of the row's account is bound to, else the chat;
'' for neither. ``place_key`` and ``lease.bound`` in SQL."""
_CLOSED: Final = "('answered', 'command', 'damaged', 'expired', 'refused')"
"""As in the schema, to the letter: SQLite takes a partial index for its own words only."""
_DAMAGE: Final = (msgspec.MsgspecError, UnicodeError, TypeError)
"""What decoding a damaged row raises; an error of SQLite itself is no damage of a row."""

log = structlog.get_logger()

_encode = msgspec.msgpack.Encoder().encode
_decode_prepared = msgspec.msgpack.Decoder(Prepared).decode


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


def unprepared(db: Db, message: journal.Unprepared) -> tuple[Inbound, ...]:
    """Return the next rows; a damaged one is set aside and does not count."""
    found: list[Inbound] = []
    after = message.after_row
    while len(found) < message.limit:
        page = db.execute(
            "SELECT row_id, account, event_id, kind, payload, received_at FROM inbound"
            " LEFT JOIN content USING (row_id) WHERE state = 'received' AND account = ?1"
            " AND row_id > ?2 ORDER BY row_id LIMIT ?3",
            message.account,
            after,
            message.limit - len(found),
        ).all()
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


def dispatch(db: Db, message: journal.Dispatch) -> Later[journal.Done]:
    return change(
        db,
        "UPDATE inbound SET chat_id = ?1, topic = ?3, routed_to = "  # noqa: S608 -- our own constants
        f"{BOUND_TO} WHERE row_id = ?2 AND state = 'received' AND routed_to IS NULL",
        message.chat_id,
        message.row_id,
        message.topic,
    )


def prepare(
    db: Db, message: journal.Prepare
) -> Later[journal.Done] | journal.Done | journal.LaneFull:
    """Make the row ready. What can't be stored as it is would fail for ever: set it aside."""
    capacity = message.capacity
    if capacity is not None and _waiting(db, capacity) >= capacity.waiting_max:
        waits = db.execute(
            "SELECT 1 FROM inbound WHERE row_id = ?1 AND state = 'received'", message.row_id
        ).one()
        return journal.Done(changed=False) if waits is None else journal.LaneFull()
    try:
        blob = _encode(message.prepared)
        message.prepared.chat_id.encode()
    except _DAMAGE as damage:
        _set_aside(db, message.row_id, damage, only_if=RowState.RECEIVED)
        return journal.Done(changed=False)
    # The content first, while the row's state still says whether it may be written.
    db.execute(
        "UPDATE content SET prepared = ?1 WHERE row_id = ?2 AND EXISTS"
        " (SELECT 1 FROM inbound WHERE row_id = ?2 AND state = 'received')",
        blob,
        message.row_id,
    )
    return change(
        db,
        "UPDATE inbound SET state = 'ready', chat_id = ?1, topic = ?3, routed_to ="  # noqa: S608 -- likewise
        f" coalesce(routed_to, {BOUND_TO}) WHERE row_id = ?2 AND state = 'received'",
        message.prepared.chat_id,
        message.row_id,
        message.prepared.topic,
    )


def _waiting(db: Db, capacity: journal.Capacity) -> int:
    """Count no further than the capacity."""
    counts = [
        db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM inbound WHERE state = 'ready'"
            " AND routed_to = ?1 LIMIT ?2) AS waiting",
            queue,
            capacity.waiting_max,
        )
        for queue in _queues(capacity.session_id, takes_unbound=capacity.takes_unbound)
    ]
    return sum(the_one(count)[0] for count in counts)


def waiting(db: Db, message: journal.Waiting) -> tuple[journal.WaitingRow, ...]:
    first, second = (*_queues(message.session_id, takes_unbound=message.takes_unbound), None)[:2]
    found: list[journal.WaitingRow] = []
    for row_id, received_at, blob in db.execute(
        "SELECT row_id, received_at, prepared FROM inbound JOIN content USING (row_id)"
        " WHERE state = 'ready' AND routed_to IN (?1, ?2) ORDER BY row_id LIMIT ?3",
        first,
        second,
        message.limit,
    ).all():
        try:
            prepared = _decode_prepared(blob)
        except _DAMAGE as damage:
            _set_aside(db, RowId(row_id), damage)
            continue
        found.append(
            journal.WaitingRow(row_id=RowId(row_id), received_at_ms=received_at, prepared=prepared)
        )
    return tuple(found)


def drop_waiting(db: Db, message: journal.DropWaiting) -> Later[tuple[RowId, ...]]:
    dropped = {
        row_id: db.execute(
            "UPDATE inbound SET state = 'expired', note = ?1, changed_at = ?2"
            " WHERE row_id = ?3 AND state = 'ready'",
            message.note,
            message.at_ms,
            row_id,
        )
        for row_id in message.row_ids
    }
    return Later(lambda: tuple(row_id for row_id, rows in dropped.items() if rows.count()))


def drop_message(db: Db, message: journal.DropMessage) -> Later[journal.Done]:
    return change(
        db,
        "UPDATE inbound SET state = 'expired', note = ?1, changed_at = ?2"
        " WHERE account = ?3 AND message_key = ?4 AND state IN ('received', 'ready')",
        message.note,
        message.at_ms,
        message.account,
        message.message_key,
    )


def close(db: Db, message: journal.Close) -> Later[journal.Done] | journal.Failed:
    if message.state not in CLOSED_STATES:
        return journal.Failed(reason=f"a row can't be closed as {message.state}")
    # Of an answered one only what de-duplication needs is kept.
    if (
        message.state is RowState.ANSWERED
    ):  # first, while the row's state still says whether it may go
        db.execute(
            "DELETE FROM content WHERE row_id = ?1 AND EXISTS (SELECT 1 FROM inbound"  # noqa: S608 -- our own constants
            f" WHERE row_id = ?1 AND state NOT IN {_CLOSED})",
            message.row_id,
        )
    return change(
        db,
        "UPDATE inbound SET state = ?1, note = ?2, changed_at = ?3, connection_id = NULL,"  # noqa: S608 -- our own constants
        " chat_id = coalesce(chat_id, CAST(?5 AS TEXT))"
        f" WHERE row_id = ?4 AND state NOT IN {_CLOSED}",
        message.state.value,
        message.note,
        message.at_ms,
        message.row_id,
        message.chat_id,
    )


def offer_next(db: Db, message: journal.OfferNext) -> Offer | None:
    while True:
        row_id = _oldest_for(db, message)
        if row_id is None:
            return None
        offered = db.execute(
            "UPDATE inbound SET state = 'offered', attempt = attempt + 1, connection_id = ?1,"
            " session_id = ?2, lease_epoch = ?3, changed_at = ?4, offered_at = ?4 WHERE row_id = ?5"
            " RETURNING account, event_id, attempt, nullif(routed_to, ''),"
            " (SELECT prepared FROM content WHERE content.row_id = inbound.row_id)",
            message.connection_id,
            message.session_id,
            message.lease_epoch,
            message.at_ms,
            row_id,
        )
        try:
            offer = _offer(row_id, message.lease_epoch, the_one(offered))
        except _DAMAGE as damage:
            _set_aside(db, row_id, damage)
            continue
        note_given(db, message.session_id, offer)
        return offer


def _oldest_for(db: Db, message: journal.OfferNext) -> RowId | None:
    """One step into the index for each of the one or two queues routed to this session."""
    queues = _queues(message.session_id, takes_unbound=message.takes_unbound)
    heads = [
        db.execute(
            "SELECT row_id FROM inbound WHERE state = 'ready' AND routed_to = ?1"
            " ORDER BY row_id LIMIT 1",
            queue,
        )
        for queue in queues
    ]
    return min((row_id for head in heads for (row_id,) in head.all()), default=None)


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
    db: Db, row_id: RowId, damage: Exception, *, only_if: RowState | None = None
) -> None:
    """Take a damaged row out of the way, for a human to look at."""
    changed = db.execute(
        "UPDATE inbound SET state = 'damaged', note = ?1, connection_id = NULL"
        " WHERE row_id = ?2 AND (CAST(?3 AS TEXT) IS NULL OR state = ?3)",
        f"{type(damage).__name__}: {damage}"[:NOTE_CHARS_MAX],
        row_id,
        None if only_if is None else only_if.value,
    )
    if changed.count():
        log.error("journal.row_damaged", row=row_id, reason=str(damage)[:NOTE_CHARS_MAX])


def acked(db: Db, message: journal.Acked) -> Later[journal.Done]:
    return change(
        db,
        "UPDATE inbound SET state = 'delivered', changed_at = ?1, seen_at = ?1 WHERE event_id = ?2"
        " AND state = 'offered' AND connection_id = ?3 AND attempt = ?4",
        message.at_ms,
        message.event_id,
        message.connection_id,
        message.attempt,
    )


def release(db: Db, message: journal.Release) -> Later[journal.Done]:
    sql = "UPDATE inbound SET state = 'ready', connection_id = NULL WHERE state = 'offered'"
    of_connection = () if message.connection_id is None else (message.connection_id,)
    if of_connection:
        sql += " AND connection_id = ?1"
    if message.row_ids is None:
        return change(db, sql, *of_connection)
    sql += f" AND row_id = ?{len(of_connection) + 1}"
    released = [db.execute(sql, *of_connection, row_id) for row_id in message.row_ids]
    return Later(lambda: journal.Done(changed=any(rows.count() for rows in released)))


def queue(db: Db, _message: journal.Queue) -> Later[journal.QueueState]:
    """Count what waits. It costs one walk over the waiting, never over the closed."""
    waiting = db.execute(
        "SELECT count(*), min(received_at) FROM inbound WHERE state IN ('received', 'ready')"
    )
    claimed = db.execute(COUNT_CLAIMED)
    offered = db.execute("SELECT count(*) FROM inbound WHERE state = 'offered'")
    damaged = db.execute("SELECT count(*) FROM inbound WHERE state = 'damaged'")

    def state() -> journal.QueueState:
        pending, oldest = the_one(waiting)
        return journal.QueueState(
            pending=pending - the_one(claimed)[0],  # a command that waits for its answer only
            in_flight=the_one(offered)[0],
            oldest_pending_at_ms=oldest,
            damaged=the_one(damaged)[0],
        )

    return Later(state)


def prune(db: Db, message: journal.Prune) -> Later[journal.Done]:
    """Delete the oldest closed rows, and as many of all else that is as old.

    A row that was delivered as long ago is not going to be answered any more.
    """
    rows = db.execute(
        "DELETE FROM inbound WHERE row_id IN (SELECT row_id FROM inbound"  # noqa: S608 -- our own constants
        f" WHERE state IN {_CLOSED} AND received_at < ?1 ORDER BY received_at LIMIT ?2)",
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
