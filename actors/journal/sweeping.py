"""Rows that are offered and that nobody holds, and whom those that wait are for.

The function runs inside a transaction of its caller; what its message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

import structlog

from actors.journal.db import Db
from actors.journal.joined import PROMPT
from actors.messages import journal

log = structlog.get_logger()


def release_unknown(db: Db, message: journal.ReleaseUnknown) -> journal.Released:
    """What is offered at one moment is little: it is read whole."""
    offered = db.execute(
        f"SELECT row_id, connection_id, {PROMPT} FROM inbound WHERE state = 'offered'"  # noqa: S608 -- our own constant
    ).all()
    # Who holds the row that leads holds what is joined to it.
    held = {prompt for row_id, _, prompt in offered if row_id in message.held}
    for row_id, connection_id, prompt in offered:
        if prompt in held or connection_id in message.connections:
            continue
        log.warning("journal.row_found", row=row_id)
        db.execute(
            "UPDATE inbound SET state = 'ready', connection_id = NULL WHERE row_id = ?1", row_id
        )
    # What waits may be much: this reads one index of it, in its order.
    waiting = db.execute("SELECT DISTINCT routed_to FROM inbound WHERE state = 'ready'")
    return journal.Released(dispatched_to=frozenset(one or None for (one,) in waiting.all()))
