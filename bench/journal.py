"""What does durability cost?

Events per second with one fsync shared by all that wait, at several numbers of
producers; what an event costs when much is stored already; how long a start takes with
rows pending; bytes a row takes. Everything goes through the actor and a real file.

Ends with status 1 when an event costs over 1.3 times as much with the most rows stored
as with none, when the first offer of a start with rows pending takes over 3 s, or when
PostgreSQL appends at less than half of SQLite's rate in batches of 10 or more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import trio

from actors.journal import JournalOpened, SqliteStore, problems_of, run, sqlite_store
from actors.messages import journal
from bench.events import (
    MAILBOX_MESSAGES,
    MS,
    NOBODY,
    PAYLOAD_BYTES,
    ROUNDS,
    Build,
    Tx,
    append,
    asked,
    close,
    offer_next,
    prepare,
)
from bench.stores import compare
from protocol.routing.delivery import RowState

FILL_BATCH = 2_000
FLAT_WITHIN = 1.3
FIRST_OFFER_WITHIN_MS = 3_000.0


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[Tx, JournalOpened]]:
    tx, rx = trio.open_memory_channel[journal.JournalMessage](MAILBOX_MESSAGES)
    with tx, rx:
        async with trio.open_nursery() as nursery:
            opened: JournalOpened = await nursery.start(run, sqlite_store(path), rx.clone())
            yield tx, opened
            nursery.cancel_scope.cancel()


def fill(path: Path, rows: int, state: RowState) -> None:
    """Let a journal hold so many rows of one state."""
    with closing(SqliteStore.open(path)) as store:
        for start in range(0, rows, FILL_BATCH):
            numbers = range(start, min(start + FILL_BATCH, rows))
            stored = store.apply([append(f"f{number}", NOBODY) for number in numbers])
            ids = [answer.row_id for answer in stored]
            store.apply([prepare(row_id, NOBODY) for row_id in ids])
            if state is RowState.ANSWERED:  # soon, so that its pages serve the next ones
                store.apply([close(row_id, NOBODY) for row_id in ids])


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


# ── the questions ───────────────────────────────────────────────────────────


async def throughput(path: Path, producers: int, seconds: float) -> str:
    """Return events per second, latency and batch size with so many producers."""
    waits: list[float] = []

    async def produce(tx: Tx, producer: int) -> None:
        number = 0
        while trio.current_time() < ends_at:
            event = f"{producer}.{number}"
            began = time.perf_counter()
            await asked(tx, lambda reply, event=event: append(event, reply))  # type: ignore[misc]  # mypy can't infer a lambda with a default
            waits.append((time.perf_counter() - began) * MS)
            number += 1

    async with serving(path) as (tx, opened):
        began = trio.current_time()
        ends_at = began + seconds
        async with trio.open_nursery() as nursery:
            for producer in range(producers):
                nursery.start_soon(produce, tx, producer)
        took = trio.current_time() - began
        done = opened.statistics()
    waits.sort()
    median, late = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
    return (
        f"{len(waits) / took:>8,.0f} events/s   p50 {median:6.2f} ms   p99 {late:6.2f} ms   "
        f"{done.messages / done.commits:5.1f} a commit"
    )


async def everyday(path: Path, events: int, name: str = "") -> dict[str, list[float]]:
    """Return what the steps of events took, in milliseconds each."""
    waits: dict[str, list[float]] = {}

    async def timed(what: str, tx: Tx, build: Build) -> Any:
        began = time.perf_counter()
        answer = await asked(tx, build)
        waits.setdefault(what, []).append((time.perf_counter() - began) * MS)
        return answer

    async with serving(path) as (tx, _opened):
        for number in range(events):
            event = f"{name}{number}"
            stored = await timed("append", tx, lambda r, n=event: append(n, r))  # type: ignore[misc]  # as above
            await timed("prepare", tx, lambda r, i=stored.row_id: prepare(i, r))  # type: ignore[misc]  # as above
            (offered,) = await timed("offer", tx, offer_next)
            await timed("close", tx, lambda r, i=offered.row_id: close(i, r))  # type: ignore[misc]  # as above
            await timed("queue", tx, lambda r: journal.Queue(reply=r))
    return waits


def medians(waits: dict[str, list[float]]) -> str:
    steps = {what: statistics.median(values) for what, values in waits.items()}
    return "   ".join(f"{what} {value:.2f}" for what, value in steps.items()) + " ms"


async def first_offer(path: Path) -> float:
    """Return milliseconds from no process state to the first row offered."""
    began = time.perf_counter()
    async with serving(path) as (tx, _opened):
        await asked(tx, offer_next)
        return (time.perf_counter() - began) * MS


def in_store(path: Path, events: int, name: str) -> float:
    """Return microseconds one append takes within a large commit, fsync shared by all."""
    with closing(SqliteStore.open(path)) as store:
        batches = [
            [append(f"{name}{batch}.{number}", NOBODY) for number in range(256)]
            for batch in range(max(1, events // 256))
        ]
        began = time.perf_counter()
        for batch in batches:
            store.apply(batch)
        return (time.perf_counter() - began) * 1e6 / (len(batches) * 256)


def start_up(path: Path) -> float:
    """Return milliseconds from no process state to an open journal; the file is cached."""
    began = time.perf_counter()
    store = SqliteStore.open(path)
    took = (time.perf_counter() - began) * MS
    store.close()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each throughput (2)")
    parser.add_argument("--events", type=int, default=100, help="of each cost (100)")
    parser.add_argument("--producers", type=int, nargs="+", default=[1, 10, 100], help="(1 10 100)")
    parser.add_argument(
        "--stored", type=int, nargs="+", default=[0, 10_000, 1_000_000], help="(0 10000 1000000)"
    )
    parser.add_argument("--pending", type=int, default=100_000, help="rows at a start (100000)")
    parser.add_argument("--dir", type=Path, help="where the files go; a directory of a real disk")
    parser.add_argument("--compare", action="store_true", help="only both stores, side by side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        sys.exit(measure(options, Path(directory)))


def measure(options: argparse.Namespace, directory: Path) -> int:
    def row(question: str, answer: str) -> None:
        print(f"{question:<32} {answer}", flush=True)

    missed = compare(options, directory)
    if options.compare:
        return int(missed)
    print(f"{os.cpu_count()} cores, payload {PAYLOAD_BYTES} bytes, synchronous FULL")
    for producers in options.producers:
        path = directory / f"p{producers}.db"
        answer = trio.run(throughput, path, producers, options.seconds)
        row(f"{producers} producers", answer)
    paths = {stored: directory / f"s{stored}.db" for stored in options.stored}
    for stored, path in paths.items():
        began = time.perf_counter()
        fill(path, stored, RowState.ANSWERED)
        if stored:
            print(f"({stored:,} rows stored in {time.perf_counter() - began:.0f} s)", flush=True)
    sizes = {stored: size_of(path) for stored, path in paths.items()}
    whole: dict[int, list[float]] = {stored: [] for stored in paths}
    steps: dict[int, dict[str, list[float]]] = {stored: {} for stored in paths}
    appends: dict[int, list[float]] = {stored: [] for stored in paths}
    for number in range(ROUNDS):
        for stored, path in paths.items():
            waits = trio.run(everyday, path, options.events // ROUNDS, f"r{number}.")
            for what, values in waits.items():
                steps[stored].setdefault(what, []).extend(values)
            whole[stored] += [sum(whole_event) for whole_event in zip(*waits.values(), strict=True)]
            appends[stored].append(in_store(path, options.events, f"s{number}."))
    for stored, path in paths.items():
        row(f"{stored:,} answered rows stored", medians(steps[stored]))
        per_row = f"{sizes[stored] / stored:.0f} bytes a row" if stored else ""
        row(
            "  one append of a full commit",
            f"{statistics.median(appends[stored]):.0f} µs   {per_row}",
        )
        row("  start", f"{start_up(path):.1f} ms")
    whole_event = {stored: statistics.median(values) for stored, values in whole.items()}
    fewest, most = min(paths), max(paths)
    ratio = whole_event[most] / whole_event[fewest]
    row(
        f"one event, all its steps, {most:,} to {fewest:,}",
        f"{whole_event[most]:.2f} / {whole_event[fewest]:.2f} ms = {ratio:.2f}"
        f"   (at most {FLAT_WITHIN})",
    )
    path = directory / "pending.db"
    fill(path, options.pending, RowState.READY)
    row(
        f"{options.pending:,} rows pending",
        f"open {start_up(path):.1f} ms   {size_of(path) / options.pending:.0f} bytes a row",
    )
    offered_after = trio.run(first_offer, path)
    row(
        "  start to the first offer",
        f"{offered_after:.1f} ms   (at most {FIRST_OFFER_WITHIN_MS:.0f})",
    )
    row("  the same, each offer and count", medians(trio.run(everyday, path, options.events)))
    began = time.perf_counter()
    assert problems_of(path) == ()
    mebibytes = size_of(path) / 2**20
    row("  checked whole", f"{(time.perf_counter() - began) * MS:.0f} ms   {mebibytes:.0f} MiB")
    return int(missed or ratio > FLAT_WITHIN or offered_after > FIRST_OFFER_WITHIN_MS)


if __name__ == "__main__":
    main()
