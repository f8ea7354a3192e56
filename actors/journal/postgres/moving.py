"""From a journal in SQLite into an empty cluster: all of it in one transaction, or nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psycopg

from actors.journal.errors import JournalError
from actors.journal.postgres.claim import Watcher
from actors.journal.sqlite import SqliteStore

TABLES_FIRST: Final = ("inbound", "session")
"""Others refer to their rows."""
ROWS_AT_ONCE: Final = 1_000


class NotEmpty(JournalError):
    """The cluster was served already: nothing was moved."""


def move_into(path: Path, watcher: Watcher, keys: Mapping[str, str]) -> dict[str, int]:
    """Copy the journal at *path*, which nobody serves; return how many rows of which table.

    The role tokens become *keys*. The term goes on from the generation, so that cards that
    are open now are repaired as after any start. Afterwards the cluster is free.

    Raises:
        NotEmpty: the cluster was claimed before.
        JournalError: the journal can't be opened.
        psycopg.Error: the server refused; nothing was moved.
    """
    with contextlib.closing(SqliteStore.open(path)) as store:
        source, target = store.connection, watcher.connection
        with target.transaction():
            seen = watcher.look()
            new_key = iter([keys[role] for role in ("dispatcher", "session", "observer")])
            claimed = (
                watcher.claim(seen, (), now=time.monotonic, new_key=lambda: next(new_key))
                if seen.term == 0
                else None
            )
            if claimed is None:
                raise NotEmpty(
                    f"cluster {watcher.target.cluster} was served already; name an empty one in"
                    " cluster.name"
                )
            tables = [
                name
                for (name,) in source.execute(
                    "SELECT name FROM sqlite_schema WHERE type = 'table'"
                    " AND name NOT LIKE 'sqlite_%' AND name <> 'meta'"
                )
            ]
            tables.sort(key=lambda name: (name not in TABLES_FIRST, name))
            counts = {name: _copy(source, target, name) for name in tables}
            _go_on_counting(source, target)
            target.execute(
                "UPDATE larkd.claim SET term = %s, node = NULL WHERE cluster = %s",
                (store.generation, watcher.target.cluster),
            )
    return counts


def _copy(source: Any, target: psycopg.Connection[Any], table: str) -> int:
    """Copy the rows of one table; column names and tables are our own schema's."""
    cursor = source.execute(f'SELECT * FROM "{table}"')  # noqa: S608 -- of our own schema
    columns = ", ".join(f'"{column[0]}"' for column in cursor.description)
    target.execute(f'DELETE FROM "{table}"'.encode())  # noqa: S608 -- of our own schema
    moved = 0
    with target.cursor().copy(f'COPY "{table}" ({columns}) FROM STDIN'.encode()) as copy:
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            for row in rows:
                copy.write_row(row)
            moved += len(rows)
    return moved


def _go_on_counting(source: Any, target: psycopg.Connection[Any]) -> None:
    """Never give the id of a row again, also of one that was pruned."""
    row = source.execute("SELECT seq FROM sqlite_sequence WHERE name = 'inbound'").fetchone()
    if row is not None:
        target.execute(
            "SELECT setval(pg_get_serial_sequence('inbound', 'row_id'), %s)", (max(row[0], 1),)
        )
