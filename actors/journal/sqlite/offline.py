"""The journal as commands beside a daemon read it: copied whole, or asked about one message."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any, Final

from actors.journal.errors import JournalUnavailable
from actors.journal.sqlite.errors import explained
from actors.journal.sqlite.opening import BUSY_TIMEOUT_MS

COPY_STEP_PAGES: Final = 1_024
"""4 MiB a step; between steps the daemon's own commits go on."""
_ROW: Final = """
    SELECT row_id, account, event_id, message_key AS message_id, kind, state, chat_id,
           attempt, session_id, received_at, changed_at, note
      FROM inbound WHERE message_key = ?1 OR event_id = ?1 ORDER BY row_id LIMIT 1
"""


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


def _connect_to_read(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise JournalUnavailable(f"there is no journal {path}")
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_TIMEOUT_MS / 1_000,
        isolation_level=None,
    )
