"""The journal: durable facts in one SQLite file. The only importer of sqlite3."""

from actors.journal.actor import Opened, RunSync, inline, run
from actors.journal.errors import (
    JournalDamaged,
    JournalError,
    JournalForeign,
    JournalNewer,
    JournalUnavailable,
)
from actors.journal.opening import problems_of
from actors.journal.store import Statistics, Store

__all__ = [
    "JournalDamaged",
    "JournalError",
    "JournalForeign",
    "JournalNewer",
    "JournalUnavailable",
    "Opened",
    "RunSync",
    "Statistics",
    "Store",
    "inline",
    "problems_of",
    "run",
]
