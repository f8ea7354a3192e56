"""``larkd move``: let a cluster's holder leave in order, and another node take it."""

from __future__ import annotations

import argparse
import time
from typing import Final

from actors.cli.claims import asking
from actors.cli.output import CommandFailed, Output, as_asked
from actors.journal.postgres import STANDBY_SEEN_MS, standbys, want
from protocol.config.places import StateDir

TAKEN_WITHIN_S: Final = 30.0
"""Cards have 5 s to become final, agents as long again."""
LOOK_EVERY_S: Final = 0.25


def run(_state: StateDir, parsed: argparse.Namespace) -> Output:
    """Move the configuration's cluster to a node; return once it is held there.

    Raises:
        CommandFailed: nobody stands by, nobody holds it, or it was not taken in time.
    """
    with asking(parsed) as (cluster, watcher):
        seen = watcher.look()
        there = [
            one.node
            for one in standbys(watcher.connection, cluster.name)
            if one.seen_ms <= STANDBY_SEEN_MS and one.node != seen.node
        ]
        if parsed.to is not None and parsed.to == seen.node:
            return _held(parsed, cluster.name, parsed.to, seen.term, "already")
        if not there or (parsed.to is not None and parsed.to not in there):
            known = f"; there: {', '.join(there)}" if there else ""
            raise CommandFailed(f"no standby{'' if parsed.to is None else f' {parsed.to}'}{known}")
        to = parsed.to or there[0]
        if not want(watcher.connection, cluster.name, to):
            raise CommandFailed(f"nobody holds {cluster.name}; a standby takes it by itself")
        until = time.monotonic() + TAKEN_WITHIN_S
        while time.monotonic() < until:
            now = watcher.look()
            if now.term > seen.term and now.node not in (None, to):
                raise CommandFailed(
                    f"node {to} did not take {cluster.name}, node {now.node} holds it now, term"
                    f" {now.term}; look into the log of {to}"
                )
            if now.term > seen.term and now.node == to:
                return _held(parsed, cluster.name, to, now.term, f"now, term {now.term}")
            time.sleep(LOOK_EVERY_S)
    raise CommandFailed(
        f"{cluster.name} was not taken in {TAKEN_WITHIN_S:g} s; look into the log of {seen.node}"
    )


def _held(parsed: argparse.Namespace, cluster: str, node: str, term: int, when: str) -> Output:
    facts = {"cluster": cluster, "node": node, "term": term}
    return as_asked(parsed, f"node {node} holds {cluster} {when}", facts)
