"""The journal in one SQLite file: the only importer of sqlite3."""

from pathlib import Path

from actors.journal.sqlite.offline import (
    copy,
    newest,
    what_became_of,
)
from actors.journal.sqlite.opening import problems_of
from actors.journal.sqlite.store import SqliteStore
from actors.journal.store import OpenStore


def sqlite_store(path: Path | None) -> OpenStore:
    """Return what opens the journal in this file; None keeps it in memory."""

    def open_store() -> SqliteStore:
        return SqliteStore.open(path)

    return open_store


__all__ = [
    "SqliteStore",
    "copy",
    "newest",
    "problems_of",
    "sqlite_store",
    "what_became_of",
]
