"""What SQLite's errors mean for a journal, and what to do about each."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Final

from actors.journal.errors import JournalDamaged, JournalError, JournalUnavailable

START_ANEW: Final = (
    "restore a copy, or move it and its -wal and -shm files away to start with an empty"
    " journal (messages not delivered yet stay in the moved one)"
)
_FULL_BELOW_BYTES: Final = 256 * 1024
"""Less than a new journal takes with its WAL."""
_PRIMARY: Final = 0xFF
"""SQLite's extended result codes carry the primary one in the lowest byte."""


def result_code(failed: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code; None for an error of the Python module itself."""
    code: int | None = getattr(failed, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY


def _is_full(path: Path | None) -> bool:
    with contextlib.suppress(OSError):
        return path is not None and shutil.disk_usage(path.parent).free < _FULL_BELOW_BYTES
    return False


def explained(path: Path | None, failed: sqlite3.Error) -> JournalError:
    """Return what an error of SQLite while opening means, and what to do about it."""
    match result_code(failed):
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return JournalDamaged(f"{path} is damaged ({failed}); {START_ANEW}")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return JournalUnavailable(
                f"{path} is locked by another process ({failed}); end that process"
            )
        # For an index of the WAL that finds no space SQLite reports an error of the disk.
        case code if code == sqlite3.SQLITE_FULL or (
            code == sqlite3.SQLITE_IOERR and _is_full(path)
        ):
            return JournalUnavailable(f"no space is left for {path} ({failed}); free some")
        case sqlite3.SQLITE_CANTOPEN:
            return JournalUnavailable(
                f"{path} can't be opened ({failed}); make it and its directory readable and"
                " writable for this user"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return JournalUnavailable(
                f"{path} can't be written ({failed}); make it and its directory writable for"
                " this user"
            )
    return JournalUnavailable(f"{path} can't be used ({failed}); check the disk it is on")
