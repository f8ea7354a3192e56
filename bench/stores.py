"""Both stores side by side: appends at several sizes of a batch, with little and much stored.

Rates are ratios to SQLite's on the same machine in the same minutes; beside them stands what
one bare SQLite commit costs. Then events at a steady rate, from when each was due to its ack.
Both stores sync each commit to the same disk before they answer; the server's settings are
its defaults, and the way to it is TCP over loopback. Part of ``bench/journal.py``.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import trio

from actors.journal import OpenStore, SqliteStore, Store, run, sqlite_store
from actors.journal.postgres import PostgresStore
from actors.messages import journal
from bench.events import (
    CHANCE,
    MAILBOX_MESSAGES,
    MS,
    NOBODY,
    PAYLOAD_BYTES,
    ROUNDS,
    append,
    asked,
)
from tests.actors.journal.stores import on_postgres
from tests.kit import postgres
from tests.kit.starvation import STARVED_MAX, starved_so_far_s

PER_SECOND: Final = 500
PACED_S: Final = 10.0
ACK_WITHIN_MS: Final = 50.0
RATIO_MIN: Final = 0.5
"""Of PostgreSQL's rate to SQLite's, from batches of 10 on."""
DEFAULTS: Final = {"shared_buffers": "128MB"}
"""The server's own, where those of the tests are smaller."""


def bare_commit(path: Path, commits: int = 200) -> float:
    """Return microseconds of one commit of the same row in SQLite, with nothing around it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE row (event_id TEXT PRIMARY KEY, payload BLOB)")
        rows = [(f"{number}", CHANCE.randbytes(PAYLOAD_BYTES)) for number in range(commits)]
        began = time.perf_counter()
        for row in rows:
            db.execute("INSERT INTO row VALUES (?, ?)", row)
        return (time.perf_counter() - began) * 1e6 / commits


def append_rate(store: Store, size: int, seconds: float, name: str) -> float:
    """Return events per second at batches of *size*, fsync included."""
    done, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        batch = [append(f"{name}{done + number}", NOBODY) for number in range(size)]
        assert not any(isinstance(one, journal.Failed) for one in store.apply(batch))
        done += size
    return done / took


def stored_in_bulk(store: SqliteStore | PostgresStore, rows: int) -> None:
    """Let a journal hold so many answered rows; they have no content any more."""
    series = (
        "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < ?)"
        " SELECT n FROM series"
        if isinstance(store, SqliteStore)
        else "SELECT generate_series(1, ?)"
    )
    insert = (
        "INSERT INTO inbound (account, event_id, message_key, kind, state, received_at,"  # noqa: S608  # our own words
        f" changed_at) SELECT 'default', 'f' || n, 'om_f' || n, 'message', 'answered', 1, 1"
        f" FROM ({series}) AS numbers(n) WHERE ? > 0"
    )
    if isinstance(store, SqliteStore):
        # SQLite names no columns of a subquery.
        insert = insert.replace(" AS numbers(n)", "")
        store.connection.execute("BEGIN IMMEDIATE")
        store.connection.execute(insert, (max(rows, 1), rows))
        store.connection.execute("COMMIT")
    else:
        store.connection.execute(insert.replace("?", "%s").encode(), (rows, rows))
        if rows:  # of an empty table the planner would learn that it stays so
            store.connection.execute("VACUUM ANALYZE inbound")


async def paced(open_store: OpenStore, per_second: int, seconds: float) -> list[float]:
    """Append at a steady rate; return what each took, in ms, from when it was due."""
    waits: list[float] = []
    tx, rx = trio.open_memory_channel[journal.JournalMessage](MAILBOX_MESSAGES)

    async def one(number: int, due: float) -> None:
        await asked(tx, lambda reply: append(f"p{number}", reply))
        waits.append((trio.current_time() - due) * MS)

    with tx, rx:
        async with trio.open_nursery() as nursery:
            await nursery.start(run, open_store, rx.clone())
            async with trio.open_nursery() as events:
                began = trio.current_time()
                for number in range(int(per_second * seconds)):
                    due = began + number / per_second
                    await trio.sleep_until(due)
                    events.start_soon(one, number, due)
            nursery.cancel_scope.cancel()
    return sorted(waits)


def compare(options: argparse.Namespace, directory: Path) -> bool:
    """Print SQLite, PostgreSQL on this machine, and their ratio, by size of a batch.

    Returns whether a ratio is under :data:`RATIO_MIN` that should not be.
    """
    bare = bare_commit(directory / "bare.db")
    print(f"{'one bare SQLite commit':<32} {bare:.0f} µs")
    if postgres.programs() is None:
        print("PostgreSQL is not installed (Debian: apt-get install postgresql): not compared")
        return False
    missed = False
    with postgres.running(**DEFAULTS) as server:
        for stored in sorted({min(options.stored), max(options.stored)}):
            path = directory / f"compared{stored}.db"
            theirs = on_postgres(server, f"bench_{stored}")()
            with closing(SqliteStore.open(path)) as ours, closing(theirs) as theirs:
                print(how_durable(ours, theirs))
                stored_in_bulk(ours, stored)
                stored_in_bulk(theirs, stored)
                for size in (1, 10, 100, 256):
                    rates: dict[str, list[float]] = {"sqlite": [], "postgres": []}
                    for number in range(ROUNDS):
                        for which, store in (("sqlite", ours), ("postgres", theirs)):
                            rate = append_rate(
                                store, size, options.seconds / ROUNDS, f"{size}.{number}."
                            )
                            rates[which].append(rate)
                    a, b = (statistics.median(rates[one]) for one in ("sqlite", "postgres"))
                    missed |= size >= 10 and b / a < RATIO_MIN
                    print(
                        f"{f'{stored:,} stored, batches of {size}':<32} SQLite {a:>8,.0f}"
                        f"   PostgreSQL {b:>8,.0f} events/s   ratio {b / a:.2f}"
                        f"   SQLite's batch in bare commits {size / a * 1e6 / bare:.2f}",
                        flush=True,
                    )
        pace(server, directory)
    return missed


def how_durable(ours: SqliteStore, theirs: PostgresStore) -> str:
    """Return what each of the two does before it answers."""
    (level,) = ours.connection.execute("PRAGMA synchronous").fetchone()
    (mode,) = ours.connection.execute("PRAGMA journal_mode").fetchone()
    names = ("fsync", "synchronous_commit", "wal_sync_method", "full_page_writes")
    settings = [
        f"{name}={value}"
        for name in names
        for (value,) in theirs.connection.execute("SELECT current_setting(%s)", (name,))
    ]
    return (
        f"SQLite {sqlite3.sqlite_version}: journal_mode={mode} synchronous={level} (2: FULL);"
        f" PostgreSQL over {theirs.connection.info.host}: {' '.join(settings)}"
    )


def pace(server: postgres.Server, directory: Path) -> None:
    """Print how long an event takes to its ack at a steady rate, on both stores."""
    for name, open_store in (
        ("SQLite", sqlite_store(directory / "paced.db")),
        ("PostgreSQL", on_postgres(server, "paced")),
    ):
        starved_s, began = starved_so_far_s(), time.monotonic()
        waits = trio.run(paced, open_store, PER_SECOND, PACED_S)
        starved = (starved_so_far_s() - starved_s) / (time.monotonic() - began)
        p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
        valid = "" if starved <= STARVED_MAX else "   NOT VALID: the machine was busy"
        print(
            f"{f'{PER_SECOND} events/s on {name}':<32} to the ack p50 {p50:6.2f} ms"
            f"   p99 {p99:6.2f} ms   (goal {ACK_WITHIN_MS:.0f})   starved {starved:.0%}{valid}",
            flush=True,
        )
