"""The journal: durable facts in one SQLite file. The only importer of sqlite3."""

from actors.journal.actor import Opened, run
from actors.journal.store import JournalError

__all__ = ["JournalError", "Opened", "run"]
