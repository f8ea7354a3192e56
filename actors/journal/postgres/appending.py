"""Appending many events in one statement: what they cost is a row each, not a statement."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
import psycopg

from actors.journal.db import Db, Later
from actors.journal.postgres.arrays import Column, bigints, blobs, texts
from actors.journal.postgres.connecting import Connection
from actors.messages import journal
from protocol.ids import RowId

# Rows are numbered in the order of the arrays, and a known event takes no number. Within
# one statement no part sees what another wrote, so an event that repeats an id or a message
# of its statement goes into the next one. The parts are not joined: the numbers are drawn
# before the rows are written, which took three fifths of the time of a batch of 10 (measured).
_APPEND: Final = """
    WITH given AS (
        SELECT one.*, coalesce(
            (SELECT row_id FROM inbound WHERE inbound.event_id = one.event_id),
            (SELECT row_id FROM inbound WHERE inbound.account = one.account
                AND inbound.message_key = one.message_key)) AS known
        FROM unnest(?1::text[], ?2::text[], ?3::text[], ?4::text[], ?5::bytea[],
            ?6::bigint[]) WITH ORDINALITY
            AS one (account, event_id, message_key, kind, payload, received_at, position)
    ), numbered AS MATERIALIZED (
        SELECT *, coalesce(known, nextval('inbound_row_id_seq')) AS row_id FROM given
    ), stored AS (
        INSERT INTO inbound
            (row_id, account, event_id, message_key, kind, state, received_at, changed_at)
        SELECT row_id, account, event_id, message_key, kind, 'received', received_at, received_at
        FROM numbered WHERE known IS NULL
    ), kept AS (
        INSERT INTO content (row_id, payload)
        SELECT row_id, payload FROM numbered WHERE known IS NULL
    )
    SELECT position, row_id, known IS NOT NULL FROM numbered
"""

# The same after the fence of a holder, as a transaction of its own: one round trip, where
# a transaction of several statements takes two and half as long again (measured, batches of
# 10). A statement that was lost on its way may still be read by its server after the next
# transaction of this holder; it finds a higher batch, and does nothing.
_FENCED: Final = (
    _APPEND.replace(
        "WITH given AS (",
        """WITH fence AS (
        UPDATE larkd.claim SET batch = ?9, beat_at = clock_timestamp()
        WHERE cluster = ?7 AND mark = ?8 AND batch < ?9 RETURNING wanted, tokens
    ), given AS (""",
    )
    .replace("received_at, position)", "received_at, position), fence")
    .replace(
        "SELECT position, row_id, known IS NOT NULL FROM numbered",
        "SELECT row_id, known IS NOT NULL, wanted, tokens FROM numbered, fence ORDER BY position",
    )
    .replace("?", "$")
    .encode()
)

# Which rows a transaction wrote shows in their xmin: it is the claim's, as long as nothing
# else was committed.
_COMMITTED: Final = b"""
    SELECT inbound.row_id, inbound.xmin <> claim.xmin
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
        AS one (account, event_id, message_key, position)
    JOIN inbound ON inbound.row_id = coalesce(
        (SELECT row_id FROM inbound WHERE inbound.event_id = one.event_id),
        (SELECT row_id FROM inbound WHERE inbound.account = one.account
            AND inbound.message_key = one.message_key))
    JOIN larkd.claim ON claim.cluster = $4
    ORDER BY position
"""


class BatchFence(msgspec.Struct, frozen=True):
    """What a transaction of the holder is fenced by."""

    cluster: str
    mark: int
    batch: int


class AppendedAll(msgspec.Struct, frozen=True):
    """A batch of appends that was committed, and what the claim's row held."""

    answers: list[journal.Appended]
    wanted: str | None
    tokens: int


def as_appends(batch: Sequence[journal.JournalMessage]) -> list[journal.Append] | None:
    """Return the batch if it is appends alone that one statement can make."""
    appends = [one for one in batch if isinstance(one, journal.Append)]
    if not appends or len(appends) < len(batch) or len(_groups(appends)) > 1:
        return None
    return appends


def append_fenced(
    connection: Connection, messages: Sequence[journal.Append], fence: BatchFence
) -> AppendedAll | None:
    """Append in a transaction of one statement; None: another holds the cluster.

    Raises:
        psycopg.Error: the server refused it, or, where the connection is closed then,
            whether it was committed is not known.
    """
    cursor = psycopg.RawCursor(connection)
    values = (*_columns(messages), fence.cluster, fence.mark, fence.batch)
    rows = cursor.execute(_FENCED, values, prepare=True, binary=True).fetchall()
    if not rows:
        return None
    answers = [journal.Appended(row_id=RowId(one[0]), duplicate=one[1]) for one in rows]
    return AppendedAll(answers, wanted=rows[0][2], tokens=rows[0][3])


def committed_appends(
    connection: Connection, messages: Sequence[journal.Append], cluster: str
) -> list[journal.Appended]:
    """Return the answers of appends whose transaction was the last one of the claim."""
    columns = _columns(messages)[:3]
    rows = psycopg.RawCursor(connection).execute(_COMMITTED, (*columns, cluster)).fetchall()
    return [journal.Appended(row_id=RowId(row_id), duplicate=known) for row_id, known in rows]


def append_all(db: Db, messages: Sequence[journal.Append]) -> list[Later[journal.Appended]]:
    """Send the appends; return their answers in order."""
    return [answer for group in _groups(messages) for answer in _append(db, group)]


def _groups(messages: Sequence[journal.Append]) -> list[list[journal.Append]]:
    """Cut the messages where one repeats an event id or a message key."""
    groups: list[list[journal.Append]] = []
    taken: set[tuple[str, str]] = set()
    for one in messages:
        keys: set[tuple[str, str]] = {("", one.event_id)}
        if one.message_key is not None:
            keys.add((f"key of {one.account}", one.message_key))
        if not groups or taken & keys:
            groups.append([])
            taken = set()
        groups[-1].append(one)
        taken |= keys
    return groups


def _append(db: Db, group: Sequence[journal.Append]) -> list[Later[journal.Appended]]:
    rows = db.execute(_APPEND, *_columns(group))  # type: ignore[arg-type]  # columns: this store's alone
    found: dict[int, journal.Appended] = {}

    def at(position: int) -> journal.Appended:
        if not found:
            for number, row_id, duplicate in rows.all():
                found[number] = journal.Appended(row_id=RowId(row_id), duplicate=duplicate)
        return found[position]

    return [Later(partial(at, position)) for position in range(1, len(group) + 1)]


def _columns(messages: Sequence[journal.Append]) -> tuple[Column, ...]:
    return (
        texts(one.account for one in messages),
        texts(one.event_id for one in messages),
        texts(one.message_key for one in messages),
        texts(one.kind for one in messages),
        blobs(one.payload for one in messages),
        bigints(one.received_at_ms for one in messages),
    )
