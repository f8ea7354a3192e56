"""From a journal in SQLite into an empty cluster, and back: all of it, or nothing."""

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


HELD_MS: Final = 10_000
"""A holder whose last batch is younger may live."""


class NotEmpty(JournalError):
    """The cluster was served already: nothing was moved."""


class NotFree(JournalError):
    """Somebody holds the cluster, or it was never served: nothing was moved."""


def move_out_of(watcher: Watcher, path: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Copy a cluster's journal, which nobody serves, into a new file at *path*.

    Returns how many rows of which table, and the role tokens. The generation goes on from
    the term. The cluster stays in the database as it is, and free.

    Raises:
        NotFree: a node holds the cluster, or it has no journal.
        JournalError: the file can't be made.
        psycopg.Error: the server refused; the file is removed.
    """
    source, cluster = watcher.connection, watcher.target.cluster
    done = False
    try:
        with source.transaction():
            seen = watcher.look()
            if not seen.term:
                raise NotFree(f"cluster {cluster} was never served: there is nothing to move")
            if seen.node is not None and (seen.beat_ms is None or seen.beat_ms < HELD_MS):
                raise NotFree(f"node {seen.node} holds cluster {cluster}; stop its nodes first")
            claimed = watcher.claim(seen, (), now=time.monotonic)
            if claimed is None:
                raise NotFree(f"cluster {cluster} was taken meanwhile; stop its nodes first")
            with contextlib.closing(SqliteStore.open(path)) as store:
                counts = _copy_out(source, store.connection, claimed.term)
            source.execute("UPDATE larkd.claim SET node = NULL WHERE cluster = %s", (cluster,))
            done = True
    finally:
        if not done:
            for end in ("", "-wal", "-shm"):
                path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
    return counts, dict(claimed.keys)


def _copy_out(source: psycopg.Connection[Any], target: Any, term: int) -> dict[str, int]:
    tables = _tables(target)
    counts: dict[str, int] = {}
    target.execute("BEGIN IMMEDIATE")
    for table in tables:
        columns = [row[1] for row in target.execute(f'PRAGMA table_info("{table}")')]
        named = ", ".join(f'"{one}"' for one in columns)
        places = ", ".join("?" for _ in columns)
        target.execute(f'DELETE FROM "{table}"')  # noqa: S608 -- of our own schema
        rows = source.execute(f'SELECT {named} FROM "{table}"'.encode()).fetchall()  # noqa: S608 -- likewise
        target.executemany(f'INSERT INTO "{table}" ({named}) VALUES ({places})', rows)  # noqa: S608 -- likewise
        counts[table] = len(rows)
    last = source.execute(
        "SELECT last_value FROM pg_sequences WHERE schemaname = current_schema()"
        " AND sequencename = 'inbound_row_id_seq'"
    ).fetchone()
    target.execute("DELETE FROM sqlite_sequence WHERE name = 'inbound'")
    target.execute(
        "INSERT INTO sqlite_sequence (name, seq) VALUES ('inbound', ?)",
        (0 if last is None or last[0] is None else last[0],),
    )
    target.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (term,))
    target.execute("COMMIT")
    return counts


def _tables(sqlite: Any) -> list[str]:
    """Return the journal's tables, those first to whose rows others refer."""
    found = [
        name
        for (name,) in sqlite.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table'"
            " AND name NOT LIKE 'sqlite_%' AND name <> 'meta'"
        )
    ]
    return sorted(found, key=lambda name: (name not in TABLES_FIRST, name))


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
            counts = {name: _copy(source, target, name) for name in _tables(source)}
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
