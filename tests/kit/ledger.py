"""What a daemon has written down of its cards: read from its journal beside it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import trio


async def wait_noted(state_dir: Path, *needles: str) -> None:
    """Wait until the open cards of the ledger hold each of the *needles* somewhere.

    What they show is noted every 1.5 s: who kills a daemon earlier kills that too.
    """
    query = "SELECT text, panels FROM card WHERE closed_at IS NULL"
    with trio.fail_after(60), closing(sqlite3.connect(state_dir / "larkd.db")) as journal:
        while True:
            rows = journal.execute(query).fetchall()
            noted = b"".join(bytes(value) for row in rows for value in row if value)
            if all(needle.encode() in noted for needle in needles):
                return
            await trio.sleep(0.05)


async def wait_closed(state_dir: Path) -> None:
    """Wait until no card is open in the ledger."""
    query = "SELECT count(*) FROM card WHERE closed_at IS NULL"
    with trio.fail_after(60), closing(sqlite3.connect(state_dir / "larkd.db")) as journal:
        while journal.execute(query).fetchone() != (0,):
            await trio.sleep(0.05)
