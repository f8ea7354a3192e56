"""Offering a session what waits for it: chosen and committed by one statement.

SQLite looks first and offers then, which costs it less. Here each look of each session would
be a round trip, one after another in a batch: a node that takes over offers to all at once.
"""

from __future__ import annotations

from typing import Final

import msgspec

from actors.journal.correspondence import note_given
from actors.journal.db import Db, Later, ResultRows, the_one
from actors.journal.prompts import decode_prompt
from actors.journal.waiting import DAMAGE, set_aside, two_queues
from actors.messages import journal
from protocol.ids import AccountId, EventId, RowId, SessionId
from protocol.routing import joining
from protocol.routing.delivery import Offer

_QUEUE: Final = (
    "(SELECT row_id, joined_to, routed_to FROM inbound WHERE state = 'ready'"
    " AND routed_to = {} ORDER BY row_id LIMIT ?3)"
)
# One step into the index for each of the one or two queues routed to this session. Where it
# takes prompts, what is joined to the first row is offered with it.
_OFFER: Final = f"""
    WITH first AS (
        SELECT row_id, joined_to, routed_to
        FROM ({_QUEUE.format("?1")} UNION ALL {_QUEUE.format("?2")}) AS heads
        ORDER BY row_id LIMIT ?3
    ), taken AS (
        UPDATE inbound SET state = 'offered', attempt = attempt + 1, connection_id = ?4,
            session_id = ?5, lease_epoch = ?6, changed_at = ?7, offered_at = ?7,
            joined_to = CASE WHEN ?8::bigint = 1 THEN joined_to END
        WHERE row_id IN (
            SELECT row_id FROM first UNION
            SELECT other.row_id FROM first JOIN inbound AS other
                ON other.joined_to = first.joined_to AND other.state = 'ready'
                AND other.routed_to = first.routed_to AND ?8::bigint = 1)
        RETURNING row_id, account, event_id, attempt, nullif(routed_to, '') AS dispatched_to
    )
    SELECT row_id, account, event_id, attempt, dispatched_to, prepared
    FROM taken LEFT JOIN content USING (row_id) ORDER BY row_id
"""  # noqa: S608 -- our own constants
_MORE: Final = (
    "SELECT EXISTS (SELECT 1 FROM inbound WHERE state = 'ready' AND routed_to = ?1)"
    " OR EXISTS (SELECT 1 FROM inbound WHERE state = 'ready' AND routed_to = ?2)"
)


def offer_next(db: Db, message: journal.OfferNext) -> Later[tuple[Offer, ...]]:
    """Offer the row that was ready first, with those joined to it, or as many as are asked for."""
    offered = _send(db, message)
    return Later(lambda: _offers(db, message, offered))


def _send(db: Db, message: journal.OfferNext) -> tuple[ResultRows, ResultRows]:
    """Offer; return what was offered, and whether more is ready."""
    queues = two_queues(message.session_id, takes_unbound=message.takes_unbound)
    offered = db.execute(
        _OFFER,
        *queues,
        1 if message.joins else message.rows_max,
        message.connection_id,
        message.session_id,
        message.lease_epoch,
        message.at_ms,
        int(message.joins),
    )
    return offered, db.execute(_MORE, *queues)


def _offers(
    db: Db, message: journal.OfferNext, sent: tuple[ResultRows, ResultRows]
) -> tuple[Offer, ...]:
    """Read what was offered, and note whom it is of; where all was damaged, offer again."""
    while True:
        offered, more = sent
        rows = offered.all()
        found = [offer for row in rows if (offer := _offer(db, row, message)) is not None]
        if found:
            break
        if not rows:
            return ()
        sent = _send(db, message)
    (is_more,) = the_one(more)
    if message.joins:
        whole = joining.prompt_of([one.prompt for one in found])
        found = [msgspec.structs.replace(found[0], prompt=whole)]
    places = {(one.account, one.prompt.chat_id, one.prompt.thread_id): one for one in found}
    for last in places.values():
        note_given(db, message.session_id, last)
    found[-1] = msgspec.structs.replace(found[-1], more=is_more)
    return tuple(found)


def _offer(
    db: Db, row: tuple[int, str, str, int, str | None, bytes], message: journal.OfferNext
) -> Offer | None:
    """Read one row; None: it was damaged, and is set aside."""
    row_id, account, event_id, attempt, dispatched_to, blob = row
    try:
        return Offer(
            row_id=RowId(row_id),
            account=AccountId(account),
            event_id=EventId(event_id),
            attempt=attempt,
            lease_epoch=message.lease_epoch,
            dispatched_to=None if dispatched_to is None else SessionId(dispatched_to),
            prompt=decode_prompt(blob),
        )
    except DAMAGE as damage:
        set_aside(db, RowId(row_id), damage)
        return None
