"""The journal in a PostgreSQL server, for one cluster: the only importer of psycopg.

It is imported only where a cluster is configured: psycopg comes with ``larkd[postgres]``.
"""

from psycopg import Error as DatabaseError

from actors.journal.postgres.asking import newest, what_became_of
from actors.journal.postgres.claim import (
    Seen,
    Standby,
    Watcher,
    all_claims,
    rotate,
    standbys,
    want,
)
from actors.journal.postgres.connecting import Target, is_pooled, is_replicated
from actors.journal.postgres.moving import NotEmpty, NotFree, move_into, move_out_of
from actors.journal.postgres.news import STANDBY_SEEN_MS, Standing
from actors.journal.postgres.store import PostgresStore
from actors.journal.postgres.taking import ClaimTaken

__all__ = [
    "STANDBY_SEEN_MS",
    "ClaimTaken",
    "DatabaseError",
    "NotEmpty",
    "NotFree",
    "PostgresStore",
    "Seen",
    "Standby",
    "Standing",
    "Target",
    "Watcher",
    "all_claims",
    "is_pooled",
    "is_replicated",
    "move_into",
    "move_out_of",
    "newest",
    "rotate",
    "standbys",
    "want",
    "what_became_of",
]
