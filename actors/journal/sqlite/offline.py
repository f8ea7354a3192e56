"""The journal as commands beside a daemon read it: copied whole, or asked about one message."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from actors.journal import history
from actors.journal.errors import JournalNewer, JournalUnavailable
from actors.journal.schema import MIGRATIONS
from actors.journal.sqlite.errors import explained, result_code
from actors.journal.sqlite.opening import BUSY_TIMEOUT_MS, migrate
from actors.journal.sqlite.store import SqliteDb
from actors.messages import journal

COPY_STEP_PAGES: Final = 1_024
"""4 MiB a step; between steps the daemon's own commits go on."""


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
        # What is only read takes no space.
        full = result_code(failed) == sqlite3.SQLITE_FULL
        raise explained(target if full else source, failed) from failed


def what_became_of(path: Path, message: str) -> journal.Explained | None:
    """Return the row of a message_id or an event_id; None where there is none (any more).

    A journal of an older larkd is read from a copy that is brought up to date: the file
    itself stays as it is.

    Raises:
        JournalError: the journal can't be read, or is a newer larkd's.
    """
    with _beside_its_daemon(path) as db:
        return history.explained(db, message)


def newest(path: Path, limit: int) -> tuple[journal.Explained, ...]:
    """Return what became of the *limit* newest messages, oldest first; as above.

    Raises:
        JournalError: the journal can't be read, or is a newer larkd's.
    """
    with _beside_its_daemon(path) as db:
        return history.newest(db, limit)


@contextlib.contextmanager
def _beside_its_daemon(path: Path) -> Iterator[SqliteDb]:
    try:
        with _as_of_today(path) as db:
            yield SqliteDb(db)
    except sqlite3.Error as failed:
        raise explained(path, failed) from failed


@contextlib.contextmanager
def _as_of_today(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(_connect_to_read(path)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise JournalNewer(
                f"{path} was written by a newer larkd (schema {version}, this one knows"
                f" {len(MIGRATIONS)}); ask that one"
            )
        if version in (0, len(MIGRATIONS)):
            yield db
            return
        with (
            tempfile.TemporaryDirectory(prefix="larkd-") as folder,
            contextlib.closing(
                sqlite3.connect(Path(folder) / path.name, isolation_level=None)
            ) as copied,
        ):
            db.backup(copied)
            migrate(copied, None, MIGRATIONS)
            yield copied


def _connect_to_read(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise JournalUnavailable(f"there is no journal {path}")
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_TIMEOUT_MS / 1_000,
        isolation_level=None,
    )
