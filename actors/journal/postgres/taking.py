"""Taking a claim: one statement, by which its taker finds the journal as its own."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from actors.journal.postgres.connecting import Connection
from actors.journal.postgres.schema import bring_up_to_date

MARKS: Final = 2**62
ROLES: Final = ("dispatcher", "session", "observer")
KEYS: Final = "SELECT role, key FROM larkd.token WHERE cluster = %s"
_AS_SEEN: Final = "cluster = %(cluster)s AND mark = %(seen_mark)s AND batch = %(seen_batch)s"
_LOCK: Final = f"SELECT 1 FROM larkd.claim WHERE {_AS_SEEN} FOR UPDATE"  # noqa: S608 -- our own constants
# Of one statement, all of it or nothing: where the claim was not as seen, its holder's rows are
# not touched. What is committed while this waits for the claim's row is not seen by the other
# parts; but then the batch is another one, and there is no claim.
_TAKE: Final = f"""
    WITH taken AS (
        UPDATE larkd.claim SET term = term + 1, mark = %(mark)s, batch = 0, node = %(node)s,
            addresses = %(addresses)s, wanted = NULL, beat_at = clock_timestamp()
        WHERE {_AS_SEEN} RETURNING term, tokens
    ), released AS (
        UPDATE inbound SET state = 'ready', connection_id = NULL
        FROM taken WHERE state = 'offered'
    ), generation AS (
        UPDATE meta SET value = taken.term FROM taken WHERE key = 'generation'
    ), token AS (
        INSERT INTO larkd.token (cluster, role, key)
        SELECT %(cluster)s, given.role, given.key
        FROM taken, unnest(%(roles)s::text[], %(keys)s::text[]) AS given (role, key)
        ON CONFLICT DO NOTHING
    ), standby AS (
        DELETE FROM larkd.standby USING taken WHERE cluster = %(cluster)s AND node = %(node)s
    )
    SELECT term, tokens, trim(current_setting('synchronous_standby_names')) <> '',
        (SELECT value FROM meta WHERE key = 'schema')
    FROM taken
"""  # noqa: S608 -- likewise


class Claiming(msgspec.Struct, frozen=True, kw_only=True):
    """Who claims what."""

    cluster: str
    node: str
    addresses: tuple[str, ...]
    seen_mark: int
    seen_batch: int
    """The claim is taken if it is still so."""
    keys: Mapping[str, str]
    """Role to its token, where there is none yet."""
    migrations: Sequence[str]


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


class OtherSchema(Exception):
    """The journal is not as this larkd would make it."""


def take_claim(
    connection: Connection,
    claiming: Claiming,
    now: Callable[[], float],
    *,
    migrates: bool = False,
) -> ClaimTaken | None:
    """Claim in two round trips; in some more where the journal is to be made or migrated.

    None: the claim is not as it was seen any more.

    Raises:
        OtherSchema: the journal is to be migrated, and *migrates* is not set.
        JournalNewer: a newer larkd migrated it; nothing was claimed.
        psycopg.Error: it failed, or whether it was committed is not known.
    """
    mark, sent_at, committed = secrets.randbelow(MARKS) + 1, now(), False
    given = {
        "cluster": claiming.cluster,
        "node": claiming.node,
        "addresses": Jsonb(list(claiming.addresses)),
        "mark": mark,
        "seen_mark": claiming.seen_mark,
        "seen_batch": claiming.seen_batch,
        "roles": list(claiming.keys),
        "keys": list(claiming.keys.values()),
    }
    try:
        # Begun, ended and sent as one: a transaction() of the driver waits eight times.
        with connection.pipeline():
            connection.execute("BEGIN")
            if migrates:
                if connection.execute(_LOCK, given).fetchone() is None:
                    return None
                bring_up_to_date(connection, claiming.cluster, claiming.migrations)
            taking = connection.execute(_TAKE, given)
            keys = connection.execute(KEYS, (claiming.cluster,))
        taken = taking.fetchone()
        if taken is None:
            return None
        term, tokens, replicated, version = taken
        if version != len(claiming.migrations):
            raise OtherSchema
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
