"""Rows that are offered and that nobody holds, and whom those that wait are for.

The function runs inside a transaction of its caller; what its message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from actors.journal.db import Db, Later, ResultRows, Row
from actors.journal.joined import PROMPT
from actors.messages import journal

log = structlog.get_logger()


def release_unknown(db: Db, message: journal.ReleaseUnknown) -> Later[journal.Released]:
    """What is offered at one moment is little: it is read whole."""
    offered = db.execute(
        f"SELECT row_id, connection_id, {PROMPT} FROM inbound WHERE state = 'offered'"  # noqa: S608 -- our own constant
    )
    waiting = _ask_waiting(db)

    def released() -> journal.Released:
        found = _release(db, message, offered.all())
        rows = (_ask_waiting(db) if found else waiting).all()
        return journal.Released(dispatched_to=frozenset(one or None for (one,) in rows))

    return Later(released)


def _ask_waiting(db: Db) -> ResultRows:
    """What waits may be much: this reads one index of it, in its order."""
    return db.execute("SELECT DISTINCT routed_to FROM inbound WHERE state = 'ready'")


def _release(db: Db, message: journal.ReleaseUnknown, offered: Sequence[Row]) -> bool:
    """Let the rows that nobody holds wait again; return whether there were any.

    What the rest of the batch did comes before: a row that is held now is left alone.
    """
    found = False
    # Who holds the row that leads holds what is joined to it.
    held = {prompt for row_id, _, prompt in offered if row_id in message.held}
    for row_id, connection_id, prompt in offered:
        if prompt in held or connection_id in message.connections:
            continue
        found = True
        log.warning("journal.row_found", row=row_id)
        db.execute(
            "UPDATE inbound SET state = 'ready', connection_id = NULL WHERE row_id = ?1"
            " AND state = 'offered' AND connection_id IS NOT DISTINCT FROM CAST(?2 AS BIGINT)",
            row_id,
            connection_id,
        )
    return found
