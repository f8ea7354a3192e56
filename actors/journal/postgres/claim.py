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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Self

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from actors.journal import schema
from actors.journal.errors import JournalUnavailable, JournalUnreachable
from actors.journal.postgres.connecting import Connection, Target, connect
from actors.journal.postgres.schema import CLAIMS, bring_up_to_date

MARKS: Final = 2**62
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


class Standby(msgspec.Struct, frozen=True, kw_only=True):
    cluster: str
    node: str
    addresses: tuple[str, ...]
    version: str
    seen_ms: int
    """How long ago it was there, by the server's clock."""


class ClaimTaken(msgspec.Struct, frozen=True, kw_only=True):
    """A claim that was committed."""

    term: int
    mark: int
    sent_at: float
    """When it was sent, by the clock that was given: the holder is fresh from there."""
    tokens: int
    """Rises when a role token is rotated."""
    keys: Mapping[str, str]
    """Role to its token."""
    replicated: bool
    """Whether the server waits for a synchronous replica at each commit."""


class Watcher:
    """One connection of a standby: looks, signs in, and claims over it."""

    def __init__(self, target: Target, connection: Connection) -> None:
        self.target = target
        self.connection = connection

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
                    there = self.connection.execute("SELECT to_regclass('larkd.token')").fetchone()
                    if there == (None,):
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
        return look(self.connection, self.target.cluster)

    def keys(self) -> dict[str, str]:
        """Return role to token."""
        return tokens_of(self.connection, self.target.cluster)

    def held_by_own_node(self) -> int:
        """Count the other clusters this node holds."""
        row = self.connection.execute(
            "SELECT count(*) FROM larkd.claim WHERE node = %s AND cluster <> %s",
            (self.target.node, self.target.cluster),
        ).fetchone()
        return 0 if row is None else int(row[0])

    def sign_in(self, addresses: Sequence[str], version: str) -> None:
        """Note that this node stands by."""
        self.connection.execute(
            "INSERT INTO larkd.standby (cluster, node, addresses, version, seen_at)"
            " VALUES (%s, %s, %s, %s, clock_timestamp()) ON CONFLICT (cluster, node) DO UPDATE"
            " SET addresses = excluded.addresses, version = excluded.version,"
            " seen_at = excluded.seen_at",
            (self.target.cluster, self.target.node, Jsonb(list(addresses)), version),
        )

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
        mark = secrets.randbelow(MARKS) + 1
        sent_at = now()
        connection = self.connection
        committed = False
        try:
            # Begun, ended and sent as one: a transaction() of the driver waits eight times.
            with connection.pipeline():
                connection.execute("BEGIN")
                row = self._take(seen, mark, addresses)
                if row is None:
                    return None
                term, tokens, replicated = row
                bring_up_to_date(connection, self.target.cluster, migrations)
                keys = self._settle_in(term, new_key)
            connection.execute("COMMIT")
            committed = True
        finally:
            if not committed and not connection.closed:
                with contextlib.suppress(psycopg.Error):
                    connection.execute("ROLLBACK")
        return ClaimTaken(
            term=term,
            mark=mark,
            sent_at=sent_at,
            tokens=tokens,
            keys=dict(keys.fetchall()),
            replicated=replicated,
        )

    def _take(
        self, seen: Seen, mark: int, addresses: Sequence[str]
    ) -> tuple[int, int, bool] | None:
        """Return the term, the count of rotations and whether commits are replicated."""
        row: tuple[Any, ...] | None = self.connection.execute(
            "UPDATE larkd.claim SET term = term + 1, mark = %s, batch = 0, node = %s,"
            " addresses = %s, wanted = NULL, beat_at = clock_timestamp()"
            " WHERE cluster = %s AND mark = %s AND batch = %s"
            " RETURNING term, tokens, trim(current_setting('synchronous_standby_names')) <> ''",
            (
                *(mark, self.target.node, Jsonb(list(addresses))),
                *(self.target.cluster, seen.mark, seen.batch),
            ),
        ).fetchone()
        return row

    def _settle_in(self, term: int, new_key: Callable[[], str]) -> psycopg.Cursor[Any]:
        """Send what the claim changes; return where the role tokens will be read."""
        execute, cluster = self.connection.execute, self.target.cluster
        execute("UPDATE inbound SET state = 'ready', connection_id = NULL WHERE state = 'offered'")
        execute("UPDATE meta SET value = %s WHERE key = 'generation'", (term,))
        for role in ROLES:
            execute(
                "INSERT INTO larkd.token (cluster, role, key) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (cluster, role, new_key()),
            )
        execute(
            "DELETE FROM larkd.standby WHERE cluster = %s AND node = %s",
            (cluster, self.target.node),
        )
        return execute("SELECT role, key FROM larkd.token WHERE cluster = %s", (cluster,))


ROLES: Final = ("dispatcher", "session", "observer")


def tokens_of(connection: Connection, cluster: str) -> dict[str, str]:
    rows = connection.execute("SELECT role, key FROM larkd.token WHERE cluster = %s", (cluster,))
    return dict(rows.fetchall())


_SEEN: Final = (
    "SELECT cluster, term, mark, batch, node, addresses, wanted, tokens,"
    " (extract(epoch FROM clock_timestamp() - beat_at) * 1000)::bigint FROM larkd.claim"
)


def look(connection: Connection, cluster: str) -> Seen:
    row = connection.execute(f"{_SEEN} WHERE cluster = %s".encode(), (cluster,)).fetchone()
    if row is None:
        raise JournalUnavailable(f"cluster {cluster} is not in the table of claims any more")
    return _seen(row)


def all_claims(connection: Connection) -> tuple[Seen, ...]:
    return tuple(_seen(row) for row in connection.execute(f"{_SEEN} ORDER BY cluster".encode()))


def _seen(row: tuple[Any, ...]) -> Seen:
    cluster, term, mark, batch, node, addresses, wanted, tokens, beat_ms = row
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
