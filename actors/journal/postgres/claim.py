"""Who holds a cluster: the statements by which a claim is seen, taken and given back.

All of it is synchronous and belongs to one thread at a time. What may be decided from
what was seen is in ``protocol/routing/claim.py``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from actors.journal import schema
from actors.journal.errors import JournalUnavailable, JournalUnreachable
from actors.journal.postgres.connecting import Connection, Target, connect
from actors.journal.postgres.schema import CLAIMS
from actors.journal.postgres.taking import (
    KEYS,
    ROLES,
    Claiming,
    ClaimTaken,
    OtherSchema,
    take_claim,
)

SAME_NAME_LOOK_S: Final = 0.7
"""A process that runs has looked or committed at least once in that time."""
CREATED_BY_ANOTHER: Final = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateSchema,
)
CREATE_TRIES: Final = 5


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The claim of a cluster, as one look found it."""

    cluster: str
    term: int
    mark: int
    batch: int
    node: str | None
    """Who holds it; None: it is free."""
    addresses: tuple[str, ...]
    wanted: str | None
    tokens: int
    beat_ms: int | None = None
    """How long ago its holder's last batch was, by the server's clock."""
    held: int = 0
    """How many other clusters the node that looks holds."""


class Standby(msgspec.Struct, frozen=True, kw_only=True):
    cluster: str
    node: str
    addresses: tuple[str, ...]
    version: str
    seen_ms: int
    """How long ago it was there, by the server's clock."""


class Watcher:
    """One connection of a standby: looks, signs in, and claims over it."""

    def __init__(self, target: Target, connection: Connection) -> None:
        self.target = target
        self.connection = connection
        self._has_journal = False

    @classmethod
    def open(cls, target: Target) -> Self:
        """Connect, and make the tables of claims and this cluster's row where missing.

        Raises:
            JournalUnavailable: the server can't be used; the text names the remedy. Where that
                may pass by itself it is a JournalUnreachable.
        """
        watcher = cls(target, connect(target).connection)
        try:
            watcher._make_claims()
        except psycopg.errors.InsufficientPrivilege as failed:
            user, name = watcher.connection.info.user, watcher.connection.info.dbname
            watcher.close()
            raise JournalUnavailable(
                f"user {user} may not make larkd's tables ({' '.join(str(failed).split())});"
                f" GRANT CREATE ON DATABASE {name} TO {user}, and where another user made them,"
                " GRANT USAGE, CREATE ON SCHEMA larkd and ALL ON its tables"
            ) from failed
        except psycopg.Error as failed:
            # A connection that was lost, or a lock that was not free, may pass by itself.
            passing = watcher.connection.closed or isinstance(failed, psycopg.OperationalError)
            watcher.close()
            error = JournalUnreachable if passing else JournalUnavailable
            raise error(
                f"the database can't be used ({' '.join(str(failed).split())}); look into its log"
            ) from failed
        return watcher

    @property
    def _meta(self) -> str:
        """The name of the journal's first table."""
        return f"larkd_{self.target.cluster}.meta"

    def close(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self.connection.close()

    def hang_up(self) -> None:
        """Shut the connection down: a call that waits on it goes on with an error.

        From any thread; it does not wait.
        """
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.connection.fileno())) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)

    def _make_claims(self) -> None:
        for attempt in range(CREATE_TRIES):
            try:
                with self.connection.transaction():
                    has_claims, self._has_journal = self.connection.execute(
                        "SELECT to_regclass('larkd.token') IS NOT NULL,"
                        " to_regclass(%s) IS NOT NULL",
                        (self._meta,),
                    ).fetchone() or (False, False)
                    if not has_claims:
                        self.connection.execute(CLAIMS.encode())
                    self.connection.execute(
                        "INSERT INTO larkd.claim (cluster) VALUES (%s) ON CONFLICT DO NOTHING",
                        (self.target.cluster,),
                    )
            except CREATED_BY_ANOTHER:  # two nodes started in the same moment
                if attempt == CREATE_TRIES - 1:
                    raise
            else:
                return

    def require_own_name(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Refuse to start beside a living process of the same cluster and node.

        What a dead one left at the server does nothing any more; who runs, does.

        Raises:
            JournalUnavailable: there is one.
        """
        before = self._of_our_name()
        if not before:
            return
        sleep(SAME_NAME_LOOK_S)
        after = self._of_our_name()
        if any(after.get(pid, at) != at for pid, at in before.items()):
            raise JournalUnavailable(
                f"another larkd already runs as node {self.target.node} of cluster"
                f" {self.target.cluster}; give each its own cluster.node (LARKD_NODE)"
            )

    def _of_our_name(self) -> dict[int, Any]:
        found = self.connection.execute(
            "SELECT pid, query_start FROM pg_stat_activity"
            " WHERE application_name = %s AND pid <> pg_backend_pid()",
            (self.target.application_name[:63],),  # as long as the server keeps it
        )
        return dict(found.fetchall())

    # ── standing by ─────────────────────────────────────────────────────────

    def look(self) -> Seen:
        """Return the claim as it is committed now.

        Raises:
            psycopg.Error: the connection is lost, or the row is gone.
        """
        return look(self.connection, self.target.cluster, self.target.node)

    def keys(self) -> dict[str, str]:
        """Return role to token."""
        return tokens_of(self.connection, self.target.cluster)

    def sign_in(self, addresses: Sequence[str], version: str) -> None:
        """Note that this node stands by; learn whether another has made the journal."""
        (self._has_journal,) = self.connection.execute(
            "INSERT INTO larkd.standby (cluster, node, addresses, version, seen_at)"
            " VALUES (%s, %s, %s, %s, clock_timestamp()) ON CONFLICT (cluster, node) DO UPDATE"
            " SET addresses = excluded.addresses, version = excluded.version,"
            " seen_at = excluded.seen_at RETURNING to_regclass(%s) IS NOT NULL",
            (self.target.cluster, self.target.node, Jsonb(list(addresses)), version, self._meta),
        ).fetchone() or (False,)

    def sign_out(self) -> None:
        """Note that this node leaves: nobody moves the cluster to it any more."""
        self.connection.execute(
            "DELETE FROM larkd.standby WHERE cluster = %s AND node = %s",
            (self.target.cluster, self.target.node),
        )

    # ── claiming ────────────────────────────────────────────────────────────

    def claim(
        self,
        seen: Seen,
        addresses: Sequence[str],
        *,
        now: Callable[[], float],
        new_key: Callable[[], str] = lambda: secrets.token_urlsafe(32),
        migrations: Sequence[str] = schema.MIGRATIONS,
    ) -> ClaimTaken | None:
        """Claim the cluster if it is still as it was *seen*; None: it is not.

        In the same transaction the journal is migrated, offered rows wait again, and the
        role tokens are made where there are none.

        Raises:
            JournalNewer: a newer larkd migrated the journal; nothing was claimed.
            psycopg.Error: it failed, or whether it was committed is not known.
        """
        claiming = Claiming(
            cluster=self.target.cluster,
            node=self.target.node,
            addresses=tuple(addresses),
            seen_mark=seen.mark,
            seen_batch=seen.batch,
            keys={role: new_key() for role in ROLES},
            migrations=migrations,
        )
        if self._has_journal:
            with contextlib.suppress(OtherSchema, psycopg.ProgrammingError):
                return take_claim(self.connection, claiming, now)
        return take_claim(self.connection, claiming, now, migrates=True)


def tokens_of(connection: Connection, cluster: str) -> dict[str, str]:
    return dict(connection.execute(KEYS, (cluster,)).fetchall())


_SEEN: Final = (
    "SELECT cluster, term, mark, batch, node, addresses, wanted, tokens,"
    " (extract(epoch FROM clock_timestamp() - beat_at) * 1000)::bigint,"
    " (SELECT count(*) FROM larkd.claim AS other WHERE other.node = %(node)s::text"
    " AND other.cluster <> claim.cluster) FROM larkd.claim"
)


def look(connection: Connection, cluster: str, node: str | None = None) -> Seen:
    """Return a claim, and how many others *node* holds."""
    row = connection.execute(
        f"{_SEEN} WHERE cluster = %(cluster)s".encode(), {"cluster": cluster, "node": node}
    ).fetchone()
    if row is None:
        raise JournalUnavailable(f"cluster {cluster} is not in the table of claims any more")
    return _seen(row)


def all_claims(connection: Connection) -> tuple[Seen, ...]:
    rows = connection.execute(f"{_SEEN} ORDER BY cluster".encode(), {"node": None})
    return tuple(map(_seen, rows))


def _seen(row: tuple[Any, ...]) -> Seen:
    cluster, term, mark, batch, node, addresses, wanted, tokens, beat_ms, held = row
    return Seen(
        cluster=cluster,
        term=term,
        mark=mark,
        batch=batch,
        node=node,
        addresses=tuple(map(str, addresses or ())),
        wanted=wanted,
        tokens=tokens,
        beat_ms=beat_ms,
        held=held,
    )


def standbys(connection: Connection, cluster: str | None = None) -> tuple[Standby, ...]:
    """Return the standbys of a cluster, or of all, the latest seen first."""
    rows = connection.execute(
        "SELECT cluster, node, addresses, version,"
        " (extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint FROM larkd.standby"
        " WHERE %(cluster)s::text IS NULL OR cluster = %(cluster)s ORDER BY seen_at DESC",
        {"cluster": cluster},
    )
    return read_standbys(rows)


def read_standbys(rows: Iterable[Sequence[Any]]) -> tuple[Standby, ...]:
    """Read rows of cluster, node, addresses, version and the milliseconds since it was seen."""
    return tuple(
        Standby(
            cluster=of,
            node=node,
            addresses=tuple(map(str, addresses or ())),
            version=version,
            seen_ms=seen_ms,
        )
        for of, node, addresses, version, seen_ms in rows
    )


def rotate(connection: Connection, cluster: str, role: str, key: str) -> None:
    """Replace a role's token; every node takes it when it sees that ``tokens`` has risen."""
    with connection.transaction():
        connection.execute(
            "INSERT INTO larkd.token (cluster, role, key) VALUES (%s, %s, %s)"
            " ON CONFLICT (cluster, role) DO UPDATE SET key = excluded.key",
            (cluster, role, key),
        )
        connection.execute(
            "UPDATE larkd.claim SET tokens = tokens + 1 WHERE cluster = %s", (cluster,)
        )


def want(connection: Connection, cluster: str, node: str) -> bool:
    """Ask the holder to leave the cluster to *node*; whether there is a holder to ask."""
    changed = connection.execute(
        "UPDATE larkd.claim SET wanted = %s WHERE cluster = %s AND node IS NOT NULL",
        (node, cluster),
    )
    return changed.rowcount > 0
