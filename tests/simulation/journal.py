"""A new journal without the making of it: one is made, and the others are copies."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from actors.journal import SqliteStore

PRIVATE = 0o600


def put_new_journal(path: Path) -> None:
    """Put an empty journal of today's schema to *path*, as its first start would leave it."""
    path.touch(PRIVATE)
    path.write_bytes(_new_journal())


@functools.cache
def _new_journal() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        SqliteStore.open(path).close()
        return path.read_bytes()
