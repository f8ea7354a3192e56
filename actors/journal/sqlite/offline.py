"""The journal as commands beside a daemon read it: copied whole, or asked about one message."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.journal import history
from actors.journal.errors import JournalUnavailable
from actors.journal.sqlite.errors import explained
from actors.journal.sqlite.opening import BUSY_TIMEOUT_MS
from actors.journal.sqlite.store import SqliteDb
from protocol.routing.history import MessageHistory

COPY_STEP_PAGES: Final = 1_024
"""4 MiB a step; between steps the daemon's own commits go on."""
_ROW: Final = """
    SELECT row_id, account, event_id, message_key AS message_id, kind, state, chat_id,
           attempt, session_id, received_at, changed_at, note
      FROM inbound WHERE message_key = ?1 OR event_id = ?1 ORDER BY row_id LIMIT 1
"""


WAITING_CHATS_MAX: Final = 20
"""More than anybody reads at once; the oldest come first."""
_WAITING: Final = """
    SELECT account, chat_id, count(*) AS waiting, min(received_at) AS oldest_at FROM inbound
     WHERE state IN ('received', 'ready') AND chat_id IS NOT NULL
     GROUP BY account, chat_id ORDER BY oldest_at LIMIT ?1
"""
_TURNS: Final = """
    SELECT session_id, chat_id, min(opened_at) AS since FROM card WHERE closed_at IS NULL
     GROUP BY session_id, chat_id ORDER BY since
"""


class InProgress(msgspec.Struct, frozen=True, kw_only=True):
    """What goes on: chats whose messages wait, and turns with an open card."""

    waiting: tuple[dict[str, Any], ...]
    """``account``, ``chat_id``, ``waiting`` (a count), ``oldest_at`` in ms; oldest first."""
    turns: tuple[dict[str, Any], ...]
    """``session_id``, ``chat_id``, ``since`` in ms."""


def in_progress(path: Path) -> InProgress:
    """Return what goes on by the journal.

    Raises:
        JournalError: the journal can't be read.
    """
    try:
        with contextlib.closing(_connect_to_read(path)) as db:
            db.row_factory = sqlite3.Row
            waiting = db.execute(_WAITING, (WAITING_CHATS_MAX,)).fetchall()
            turns = db.execute(_TURNS).fetchall()
    except sqlite3.Error as failed:
        raise explained(path, failed) from failed
    return InProgress(waiting=tuple(map(dict, waiting)), turns=tuple(map(dict, turns)))


def copy(source: Path, target: Path) -> None:
    """Write a consistent copy of a journal to *target*, also while a daemon commits to it.

    Raises:
        JournalError: the journal can't be read, or the copy not written.
    """
    try:
        with (
            contextlib.closing(_connect_to_read(source)) as db,
            contextlib.closing(sqlite3.connect(target)) as copied,
        ):
            db.backup(copied, pages=COPY_STEP_PAGES)
            # One file, whatever the source's mode is: the archive holds no -wal.
            copied.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as failed:
        raise explained(source, failed) from failed


def what_became_of(path: Path, message: str) -> dict[str, Any] | None:
    """Return the row of a message_id or an event_id; None where there is none (any more).

    Raises:
        JournalError: the journal can't be read.
    """
    try:
        with contextlib.closing(_connect_to_read(path)) as db:
            db.row_factory = sqlite3.Row
            row = db.execute(_ROW, (message,)).fetchone()
            return None if row is None else dict(row)
    except sqlite3.Error as failed:
        raise explained(path, failed) from failed


def history_of(path: Path, message: str) -> MessageHistory | None:
    """Return the history of a message_id or an event_id; None where there is none (any more).

    Raises:
        JournalError: the journal can't be read, or is an older larkd's: the next start of
            the daemon brings it up to date.
    """
    try:
        with contextlib.closing(_connect_to_read(path)) as db:
            return history.history_of(SqliteDb(db), message)
    except sqlite3.Error as failed:
        raise explained(path, failed) from failed


def _connect_to_read(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise JournalUnavailable(f"there is no journal {path}")
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_TIMEOUT_MS / 1_000,
        isolation_level=None,
    )
