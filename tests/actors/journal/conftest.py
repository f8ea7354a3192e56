from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from actors.journal import SqliteStore, Store
from tests.actors.journal.client import JournalClient
from tests.actors.journal.stores import StoreKind, on_postgres, on_sqlite
from tests.kit import postgres

_numbers = itertools.count(1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal will be."""
    return tmp_path / "larkd.db"


@pytest.fixture
def cluster() -> str:
    """A name no other test has."""
    return f"test_{next(_numbers)}"


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> StoreKind:
    """Which store the test runs on; it runs on both."""
    name: StoreKind = request.param
    return name


@pytest.fixture
def open_store(kind: StoreKind, path: Path, request: pytest.FixtureRequest) -> Callable[[], Store]:
    """Open the same journal, on disk, again and again."""
    if kind == "sqlite":
        return on_sqlite(path)
    server: postgres.Server = request.getfixturevalue("server")
    return on_postgres(server, request.getfixturevalue("cluster"))


@pytest.fixture
def client(kind: StoreKind, request: pytest.FixtureRequest) -> Iterator[JournalClient]:
    """A client of an empty journal: SQLite's in memory, PostgreSQL's in a new cluster."""
    if kind == "sqlite":
        store: Store = SqliteStore.open(None)
    else:
        store = request.getfixturevalue("open_store")()
    with closing(store):
        yield JournalClient(store)


@pytest.fixture
def in_memory() -> Iterator[JournalClient]:
    """A client of an empty journal of SQLite, for what only SQLite can be asked."""
    with closing(SqliteStore.open(None)) as store:
        yield JournalClient(store)
