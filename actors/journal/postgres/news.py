"""How a holder stands, and what it reads for it beside its batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from actors.journal.db import Db
from actors.journal.postgres.claim import Standby, read_standbys

STANDBY_SEEN_MS: Final = 12_000
"""Two of their notes, each 5 s, and one that is late."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How the holder stands, after a batch."""

    confirmed_at: float
    """When the last confirmed batch was sent, by the clock that was given."""
    lost: bool
    """Another has claimed the cluster; nothing will be committed any more."""
    wanted: str | None = None
    """The node that was asked to take it."""
    tokens: int
    keys: Mapping[str, str] | None = None
    """Role to its token, as of *keys_of*; None until they were read."""
    keys_of: int = 0
    """What ``tokens`` was in the batch that read the keys."""
    standbys: tuple[Standby, ...] = ()
    """Those that were seen in the last :data:`STANDBY_SEEN_MS`."""
    successor: tuple[str, ...] = ()
    """Where the holder is by whom this one was fenced."""


def ask_news(db: Db, cluster: str, *, seen_ms_max: int) -> Callable[[], dict[str, Any]]:
    """Send the questions; return what reads the answers, as fields of ``Standing``."""
    standbys = db.execute(
        "SELECT cluster, node, addresses, version,"
        " (extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint AS seen_ms"
        " FROM larkd.standby WHERE cluster = ?1"
        " AND seen_at > clock_timestamp() - ?2 * interval '1 millisecond' ORDER BY seen_at DESC",
        cluster,
        seen_ms_max,
    )
    keys = db.execute("SELECT role, key FROM larkd.token WHERE cluster = ?1", cluster)

    def news() -> dict[str, Any]:
        return {
            "standbys": read_standbys(standbys.all()),
            "keys": dict(keys.all()),
        }

    return news
