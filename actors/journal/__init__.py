"""The journal: durable facts in one transaction a batch, kept by one of two stores.

``sqlite/`` keeps them in a file, ``postgres/`` in a server that several machines share.
They are the only importers of a database driver; the rest of this folder runs on both.
"""

from actors.journal.actor import JournalOpened, inline, own_thread, run
from actors.journal.errors import (
    JournalDamaged,
    JournalError,
    JournalForeign,
    JournalNewer,
    JournalUnavailable,
    JournalUnreachable,
)
from actors.journal.given_up import RunSync
from actors.journal.sqlite import (
    SqliteStore,
    copy,
    newest,
    problems_of,
    sqlite_store,
    what_became_of,
)
from actors.journal.store import JournalStatistics, OpenStore, Store

__all__ = [
    "JournalDamaged",
    "JournalError",
    "JournalForeign",
    "JournalNewer",
    "JournalOpened",
    "JournalStatistics",
    "JournalUnavailable",
    "JournalUnreachable",
    "OpenStore",
    "RunSync",
    "SqliteStore",
    "Store",
    "copy",
    "inline",
    "newest",
    "own_thread",
    "problems_of",
    "run",
    "sqlite_store",
    "what_became_of",
]
