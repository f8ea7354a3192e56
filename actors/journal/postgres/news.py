"""What a holder reads beside its batches: who stands by, and the role tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.journal.db import Db
from actors.journal.postgres.claim import read_standbys


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
