"""What ``larkd doctor`` finds of a cluster: its database, its holder, its standbys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.cli.claims import asking_of
from actors.cli.clusters import GONE_MS
from actors.cli.output import CommandFailed
from actors.journal.postgres import Seen, Standby, is_pooled, is_replicated, standbys
from protocol.config.doctor import Finding, fail, ok, warn
from protocol.config.settings import ClusterSettings

SILENT_MS: Final = 10_000
"""A holder's batches are half a second apart; so long none should last."""

_POOLED: Final = warn(
    "pooler",
    "stands before the database: one that gives each transaction another connection breaks the"
    " cluster",
    "name PostgreSQL itself in cluster.database",
)


def examine_cluster(cluster: ClusterSettings, version: str) -> list[Finding]:
    """Look into the database as a node does; the error of one that can't be used names why."""
    try:
        with asking_of(cluster) as watcher:
            seen = watcher.look()
            waiting = [
                one
                for one in standbys(watcher.connection, cluster.name)
                if one.seen_ms <= GONE_MS and one.node != seen.node
            ]
            replicated = is_replicated(watcher.connection)
            pooled = is_pooled(watcher.connection)
    except CommandFailed as failed:
        why, _, remedy = str(failed).rpartition("; ")
        return [fail("database", why or str(failed), remedy or "look into its log")]
    database = [_database(replicated=replicated), *([_POOLED] if pooled else ())]
    return [*database, _holder(seen), *_standbys(seen, waiting, version)]


def _database(*, replicated: bool) -> Finding:
    if replicated:
        return ok("database", "answers, and waits for a synchronous replica")
    return warn(
        "database",
        "answers, and names no synchronous replica: its loss loses messages acked to Feishu",
        "set synchronous_standby_names in the server",
    )


def _holder(seen: Seen) -> Finding:
    if seen.node is None:
        return fail("cluster", f"nobody holds {seen.cluster}", "start larkd on a node")
    held = f"{seen.cluster} is held by {seen.node}, term {seen.term}"
    if seen.beat_ms is None or seen.beat_ms > SILENT_MS:
        return fail(
            "cluster",
            f"{held}, which is silent, and nobody takes it",
            "start larkd on a node, and look into the logs of those that run",
        )
    return ok("cluster", held)


def _standbys(seen: Seen, waiting: list[Standby], version: str) -> Iterator[Finding]:
    if not waiting:
        yield warn(
            "standbys",
            f"nobody stands by for {seen.cluster}",
            "start larkd on another machine, with the same configuration",
        )
    for one in waiting:
        if one.version != version:
            yield warn(
                "standbys",
                f"{one.node} is larkd {one.version}, this one {version}",
                "install the same version on all nodes",
            )
        else:
            yield ok("standbys", f"{one.node} stands by")
