"""What is kept for each account: who was paired with it, and its calls of a month."""

from __future__ import annotations

import sqlite3

import msgspec
import structlog

from actors.messages import journal
from protocol.routing.pairing import AccessBook

log = structlog.get_logger()


def load_access(db: sqlite3.Connection, message: journal.LoadAccess) -> AccessBook:
    """Return the account's book; a damaged one lets nobody in and is logged."""
    row = db.execute("SELECT book FROM access WHERE account = ?", (message.account,)).fetchone()
    if row is None:
        return AccessBook()
    try:
        return msgspec.json.decode(row[0], type=AccessBook)
    except (msgspec.DecodeError, TypeError, UnicodeError) as damage:
        log.error("journal.access_damaged", account=message.account, reason=str(damage))  # noqa: TRY400 -- no traceback: its frames hold ids of people
        return AccessBook()


def save_access(db: sqlite3.Connection, message: journal.SaveAccess) -> journal.Done:
    book = msgspec.json.encode(message.book)
    db.execute("INSERT OR REPLACE INTO access VALUES (?, ?)", (message.account, book))
    return journal.Done()


def count_calls(db: sqlite3.Connection, message: journal.CountCalls) -> int:
    """Add the calls; return how many there are."""
    key = (message.account, message.month)
    if message.calls:
        db.execute(
            "INSERT INTO calls VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET calls = calls + ?3",
            (*key, message.calls),
        )
    row = db.execute("SELECT calls FROM calls WHERE account = ? AND month = ?", key).fetchone()
    return int(row[0]) if row else 0
