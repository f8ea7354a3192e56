"""What is kept for each account: who was paired with it, and its calls of a month."""

from __future__ import annotations

import msgspec
import structlog

from actors.journal.db import Db, Later
from actors.messages import journal
from protocol.routing.pairing import AccessBook

log = structlog.get_logger()


def load_access(db: Db, message: journal.LoadAccess) -> Later[AccessBook]:
    """Return the account's book; a damaged one lets nobody in and is logged."""
    rows = db.execute("SELECT book FROM access WHERE account = ?1", message.account)

    def loaded() -> AccessBook:
        row = rows.one()
        if row is None:
            return AccessBook()
        try:
            return msgspec.json.decode(row[0], type=AccessBook)
        except (msgspec.DecodeError, TypeError, UnicodeError) as damage:
            log.error("journal.access_damaged", account=message.account, reason=str(damage))  # noqa: TRY400 -- no traceback: its frames hold ids of people
            return AccessBook()

    return Later(loaded)


def save_access(db: Db, message: journal.SaveAccess) -> journal.Done:
    book = msgspec.json.encode(message.book)
    db.execute(
        "INSERT INTO access (account, book) VALUES (?1, ?2)"
        " ON CONFLICT (account) DO UPDATE SET book = ?2",
        message.account,
        book,
    )
    return journal.Done()


def count_calls(db: Db, message: journal.CountCalls) -> Later[int]:
    """Add the calls; return how many there are."""
    if message.calls:
        db.execute(
            "INSERT INTO calls (account, month, calls) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (account, month) DO UPDATE SET calls = calls.calls + ?3",
            message.account,
            message.month,
            message.calls,
        )
    counted = db.execute(
        "SELECT calls FROM calls WHERE account = ?1 AND month = ?2", message.account, message.month
    )

    def calls() -> int:
        row = counted.one()
        return int(row[0]) if row else 0

    return Later(calls)
