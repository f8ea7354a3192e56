"""``larkd clusters``: who holds each cluster of the database, and who stands by."""

from __future__ import annotations

import argparse
from typing import Any, Final

from actors.cli.claims import asking
from actors.cli.output import Output, as_json
from actors.journal.postgres import Seen, Standby, all_claims, standbys
from protocol.config.places import StateDir

GONE_MS: Final = 30_000
"""A standby that was not seen for so long is shown as gone."""


def run(_state: StateDir, parsed: argparse.Namespace) -> Output:
    """List the claims and standbys of the database the configuration names."""
    with asking(parsed) as (_cluster, watcher):
        claims = all_claims(watcher.connection)
        waiting = standbys(watcher.connection)
    found = [
        _shown(claim, [one for one in waiting if one.cluster == claim.cluster]) for claim in claims
    ]
    if parsed.json:
        return Output(as_json({"clusters": found}))
    return Output("\n".join(line for one in found for line in _lines(one)))


def _shown(claim: Seen, waiting: list[Standby]) -> dict[str, Any]:
    return {
        "cluster": claim.cluster,
        "node": claim.node,
        "term": claim.term,
        "addresses": list(claim.addresses),
        "wanted": claim.wanted,
        "beat_ms": claim.beat_ms,
        "standbys": [
            {"node": one.node, "version": one.version, "seen_ms": one.seen_ms} for one in waiting
        ],
    }


def _lines(one: dict[str, Any]) -> list[str]:
    if one["node"] is None:
        holder = "free" if one["term"] else "never claimed"
    else:
        holder = f"held by {one['node']}, term {one['term']}, last batch {one['beat_ms']} ms ago"
    wanted = f"; to be moved to {one['wanted']}" if one["wanted"] else ""
    lines = [f"{one['cluster']}  {holder}{wanted}"]
    for standby in one["standbys"]:
        gone = "  (gone)" if standby["seen_ms"] > GONE_MS else ""
        lines.append(
            f"  standby {standby['node']}, larkd {standby['version']},"
            f" seen {standby['seen_ms'] / 1000:.0f} s ago{gone}"
        )
    return lines
