"""Commands that were carried out and are not answered yet: their rows stay ``received``.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

from actors.journal.db import Db, Later, change
from actors.messages import journal

COUNT_CLAIMED = "SELECT count(*) FROM inbound WHERE state = 'received' AND answer IS NOT NULL"

# inbound.answer is NULL until the command is claimed, and empty until it was carried out.


def claim_command(db: Db, message: journal.ClaimCommand) -> journal.Claimed | None:
    row = db.execute(
        "SELECT answer FROM inbound WHERE row_id = ?1 AND state = 'received'", message.row_id
    ).one()
    if row is None:
        return None
    if row[0] is not None:
        return journal.Claimed(first=False, answer=bytes(row[0]) or None)
    db.execute("UPDATE inbound SET answer = ?1 WHERE row_id = ?2", b"", message.row_id)
    return journal.Claimed(first=True, answer=None)


def note_answer(db: Db, message: journal.NoteAnswer) -> Later[journal.Done]:
    return change(
        db,
        "UPDATE inbound SET answer = ?1 WHERE row_id = ?2 AND state = 'received'",
        message.answer,
        message.row_id,
    )
