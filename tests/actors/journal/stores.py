"""Both stores of the journal, opened as the daemon opens them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from actors.journal import SqliteStore
from actors.journal.postgres import PostgresStore, Target, Watcher
from tests.kit.postgres import Server

StoreKind = Literal["sqlite", "postgres"]


def on_sqlite(path: Path) -> Callable[[], SqliteStore]:
    def open_store() -> SqliteStore:
        return SqliteStore.open(path)

    return open_store


def on_postgres(
    server: Server, cluster: str, *, node: str = "a", port: int | None = None
) -> Callable[[], PostgresStore]:
    """Return what claims the cluster, from whoever holds it, and opens its journal."""

    def open_store() -> PostgresStore:
        target = Target(database=server.url(port=port), cluster=cluster, node=node)
        watcher = Watcher.open(target)
        claimed = watcher.claim(watcher.look(), (), now=time.monotonic)
        assert claimed is not None
        return PostgresStore(target, watcher.connection, claimed)

    return open_store
