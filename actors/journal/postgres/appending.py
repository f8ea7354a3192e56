"""Appending many events in one statement: what they cost is a row each, not a statement."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from actors.journal.db import Db, Later
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
    columns: list[list[Any]] = [
        [one.account for one in group],
        [one.event_id for one in group],
        [one.message_key for one in group],
        [one.kind for one in group],
        [one.payload for one in group],
        [one.received_at_ms for one in group],
    ]
    rows = db.execute(_APPEND, *columns)  # type: ignore[arg-type]  # arrays: this store's alone
    found: dict[int, journal.Appended] = {}

    def at(position: int) -> journal.Appended:
        if not found:
            for number, row_id, duplicate in rows.all():
                found[number] = journal.Appended(row_id=RowId(row_id), duplicate=duplicate)
        return found[position]

    return [Later(partial(at, position)) for position in range(1, len(group) + 1)]
