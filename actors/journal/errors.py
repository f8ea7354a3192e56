"""Why a journal can't be opened. Each text names the file, the cause and the way out."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

START_ANEW: Final = (
    "restore a copy, or move it and its -wal and -shm files away to start with an empty"
    " journal (messages not delivered yet stay in the moved one)"
)
_PRIMARY: Final = 0xFF
"""SQLite's extended result codes carry the primary one in the lowest byte."""


class JournalError(Exception):
    """The journal can't be opened. The text names the cause and the remedy."""


class JournalNewer(JournalError):
    """A newer larkd wrote it. It was left as it is."""


class JournalForeign(JournalError):
    """It is no journal of ours. It was left as it is."""


class JournalDamaged(JournalError):
    """SQLite finds it damaged."""


class JournalUnavailable(JournalError):
    """It may be sound, but can't be used now: permissions, space, another writer."""


def result_code(failed: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code; None for an error of the Python module itself."""
    code: int | None = getattr(failed, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY


def explained(path: Path | None, failed: sqlite3.Error) -> JournalError:
    """Return what an error of SQLite while opening means, and what to do about it."""
    match result_code(failed):
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return JournalDamaged(f"{path} is damaged ({failed}); {START_ANEW}")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return JournalUnavailable(
                f"{path} is locked by another process ({failed}); end that process"
            )
        case sqlite3.SQLITE_FULL:
            return JournalUnavailable(f"no space is left for {path} ({failed}); free some")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return JournalUnavailable(
                f"{path} can't be written ({failed}); make it and its directory writable for"
                " this user"
            )
    return JournalUnavailable(f"{path} can't be used ({failed}); check the disk it is on")
