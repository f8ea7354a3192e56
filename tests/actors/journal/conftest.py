from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from actors.journal import SqliteStore
from tests.actors.journal.client import JournalClient


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal will be."""
    return tmp_path / "larkd.db"


@pytest.fixture
def client() -> Iterator[JournalClient]:
    """A client of an empty journal in memory."""
    with closing(SqliteStore.open(None)) as store:
        yield JournalClient(store)
