"""The journal in a PostgreSQL server, for one cluster: the only importer of psycopg.

It is imported only where a cluster is configured: psycopg comes with ``larkd[postgres]``.
"""

from psycopg import Error as DatabaseError

from actors.journal.postgres.claim import (
    ClaimTaken,
    Seen,
    Standby,
    Watcher,
    all_claims,
    standbys,
    want,
)
from actors.journal.postgres.connecting import Target
from actors.journal.postgres.moving import NotEmpty, move_into
from actors.journal.postgres.store import PostgresStore, Standing

__all__ = [
    "ClaimTaken",
    "DatabaseError",
    "NotEmpty",
    "PostgresStore",
    "Seen",
    "Standby",
    "Standing",
    "Target",
    "Watcher",
    "all_claims",
    "move_into",
    "standbys",
    "want",
]
