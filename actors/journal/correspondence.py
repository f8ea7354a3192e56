"""Who was given messages of which chat, what was sent where, and what waits for an answer.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

import sqlite3

import msgspec
import structlog

from actors.messages import journal
from protocol.ids import AccountId, ChatId, EventId, MessageId, RowId, SessionId
from protocol.routing.delivery import Offer, Prepared

_DAMAGE = (msgspec.MsgspecError, UnicodeError, TypeError)

log = structlog.get_logger()

_decode_prepared = msgspec.msgpack.Decoder(Prepared).decode


def note_given(db: sqlite3.Connection, session_id: SessionId, offer: Offer) -> None:
    """A session was offered a message of a chat, so it may answer there."""
    db.execute(
        "INSERT INTO given VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (session_id, offer.prepared.chat_id, offer.account),
    )


def correspondent(db: sqlite3.Connection, message: journal.Correspondent) -> journal.Correspondence:
    """Return whose chat it is, and whether this session was given a message of it."""
    own = db.execute(
        "SELECT account FROM given WHERE chat_id = ? AND session_id = ?",
        (message.chat_id, message.session_id),
    ).fetchone()
    known = (
        own
        or db.execute(
            "SELECT account FROM given WHERE chat_id = ? LIMIT 1", (message.chat_id,)
        ).fetchone()
    )
    return journal.Correspondence(
        account=None if known is None else AccountId(known[0]), given=own is not None
    )


def note_sent(db: sqlite3.Connection, message: journal.NoteSent) -> journal.Done:
    changed = db.execute(
        "INSERT INTO sent VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (message.message_id, message.account, message.chat_id, message.at_ms),
    ).rowcount
    return journal.Done(changed=changed > 0)


def where_is(db: sqlite3.Connection, message: journal.WhereIs) -> journal.MessageAt | None:
    """Find a message people sent us, or one of ours."""
    own = db.execute(
        "SELECT account, chat_id FROM sent WHERE message_id = ?", (message.message_id,)
    ).fetchone()
    found = own
    for account in () if own else message.accounts:
        found = db.execute(
            "SELECT account, chat_id FROM inbound WHERE account = ? AND message_key = ?"
            " AND chat_id IS NOT NULL",
            (account, message.message_id),
        ).fetchone()
        if found:
            break
    if found is None:
        return None
    return journal.MessageAt(
        account=AccountId(found[0]), chat_id=ChatId(found[1]), ours=own is not None
    )


def unanswered(
    db: sqlite3.Connection, message: journal.Unanswered
) -> tuple[journal.UnansweredRow, ...]:
    """Return the rows this session was given and has not answered, oldest first."""
    sql = (
        "SELECT row_id, event_id, attempt, received_at, message_key,"
        " (SELECT prepared FROM content WHERE content.row_id = inbound.row_id) FROM inbound"
        " WHERE state IN ('offered', 'delivered') AND session_id = ?"
    )
    values: list[str | int] = [message.session_id]
    if message.chat_id is not None:
        sql += " AND chat_id = ?"
        values.append(message.chat_id)
    if message.message_id is not None:
        sql += " AND message_key = ?"
        values.append(message.message_id)
    rows = db.execute(f"{sql} ORDER BY row_id LIMIT ?", (*values, message.limit)).fetchall()
    found: list[journal.UnansweredRow] = []
    for row_id, event_id, attempt, received_at, key, blob in rows:
        try:
            found.append(
                journal.UnansweredRow(
                    row_id=RowId(row_id),
                    event_id=EventId(event_id),
                    attempt=attempt,
                    received_at_ms=received_at,
                    message_id=None if key is None else MessageId(key),
                    prepared=_decode_prepared(blob),
                )
            )
        except _DAMAGE as damage:
            log.error("journal.row_unreadable", row=row_id, reason=str(damage)[:500])  # noqa: TRY400 -- no traceback: its frames hold message text
    return tuple(found)


def overdue(db: sqlite3.Connection, message: journal.Overdue) -> dict[SessionId, int]:
    """Count, by session, the rows that were delivered before a moment and not answered."""
    rows = db.execute(
        "SELECT session_id, count(*) FROM inbound WHERE state = 'delivered'"
        " AND changed_at < ? GROUP BY session_id",
        (message.delivered_before_ms,),
    )
    return {SessionId(session): count for session, count in rows}
