"""Rows that wait for a session: how many, which, and how one is taken out of the queue.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

from typing import Final

import msgspec
import structlog

from actors.journal.commands import COUNT_CLAIMED
from actors.journal.db import Db, Later, change, the_one
from actors.journal.joined import PROMPT, PROMPTS, together
from actors.journal.prompts import decode_prompt
from actors.messages import journal
from protocol.ids import AccountId, RowId, SessionId
from protocol.routing import joining
from protocol.routing.delivery import RowState
from protocol.routing.history import LANE_FULL

NOTE_CHARS_MAX: Final = 500
DAMAGE: Final = (msgspec.MsgspecError, UnicodeError, TypeError)
"""What decoding a damaged row raises; an error of SQLite itself is no damage of a row."""

log = structlog.get_logger()


def refuse_if_full(db: Db, row_id: RowId, capacity: journal.Capacity) -> None:
    """Note in a row that its lane was full, if it is.

    The database itself counts the prompts that wait, no further than the capacity: asked
    before, each prompt of a batch would take a round trip.
    """
    first, second = two_queues(capacity.session_id, takes_unbound=capacity.takes_unbound)
    count = (
        f"(SELECT count(*) FROM ({PROMPTS} WHERE state = 'ready'"  # noqa: S608 -- our own constants
        " AND routed_to = {} LIMIT ?5) AS waiting)"
    )
    db.execute(
        "UPDATE inbound SET note = ?1 WHERE row_id = ?2 AND state = 'received'"  # noqa: S608 -- likewise
        f" AND {count.format('?3')} + {count.format('?4')} >= ?5",
        LANE_FULL,
        row_id,
        first,
        second,
        capacity.waiting_max,
    )


def waiting(db: Db, message: journal.FindWaiting) -> tuple[journal.WaitingRow, ...]:
    first, second = two_queues(message.session_id, takes_unbound=message.takes_unbound)
    prompts: dict[int, list[journal.WaitingRow]] = {}
    for row_id, account, received_at, leader, blob in db.execute(
        f"SELECT row_id, account, received_at, {PROMPT}, prepared"  # noqa: S608 -- our own constants
        " FROM inbound JOIN content USING (row_id)"
        " WHERE state = 'ready' AND routed_to IN (?1, ?2) ORDER BY row_id LIMIT ?3",
        first,
        second,
        message.limit * joining.JOINED_MAX,
    ).all():
        try:
            prompt = decode_prompt(blob)
        except DAMAGE as damage:
            set_aside(db, RowId(row_id), damage)
            continue
        prompts.setdefault(leader, []).append(
            journal.WaitingRow(
                row_id=RowId(row_id),
                account=AccountId(account),
                received_at_ms=received_at,
                prompt=prompt,
            )
        )
    return tuple(
        msgspec.structs.replace(rows[0], prompt=joining.prompt_of([one.prompt for one in rows]))
        for rows in list(prompts.values())[: message.limit]
    )


def drop_waiting(db: Db, message: journal.DropWaiting) -> Later[tuple[RowId, ...]]:
    dropped = {
        row_id: db.execute(
            "UPDATE inbound SET state = 'expired', note = ?1, changed_at = ?2"  # noqa: S608 -- our own constants
            f" WHERE row_id IN {together('?3')} AND (state = 'ready'"
            " OR (state = 'expired' AND note = ?1 AND changed_at = ?2))",
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


def queues_of(session_id: SessionId, *, takes_unbound: bool) -> tuple[str, ...]:
    return (session_id, "") if takes_unbound else (session_id,)


def two_queues(session_id: SessionId, *, takes_unbound: bool) -> tuple[str, str | None]:
    """Return the queues for a statement that has two; None, the second, is no queue's name."""
    return session_id, "" if takes_unbound else None


def set_aside(db: Db, row_id: RowId, damage: Exception, *, only_if: RowState | None = None) -> None:
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
