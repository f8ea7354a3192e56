"""``larkd journal move``: the SQLite journal of this machine into an empty cluster, and back."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.cli.claims import asking
from actors.cli.output import CommandFailed, Output, as_asked
from actors.host import state_dir
from actors.host.tokens import read_token
from actors.journal.postgres import move_into, move_out_of
from protocol.config.places import StateDir
from protocol.config.settings import ClusterSettings
from protocol.wire.vocabulary import ROLES


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Copy the journal and the role tokens; afterwards the file is out of the way.

    Raises:
        CommandFailed: there is no journal, a daemon serves it, or the cluster is not empty.
    """
    if parsed.back:
        return _back(state, parsed)
    if not state.database.exists():
        raise CommandFailed(f"{state.root} holds no journal; name its directory with --state-dir")
    with state_dir.locked(state), asking(parsed) as (cluster, watcher):
        keys: dict[str, str] = {role: read_token(state.token(role)).decode() for role in ROLES}
        counts = move_into(state.database, watcher, keys)
        aside = state.database.with_name(f"{state.database.name}.moved-to-{cluster.name}")
        state.database.replace(aside)
    text = (
        f"moved {counts['inbound']} messages and {counts['card']} cards into cluster"
        f" {cluster.name}; the file is {aside} now; start larkd on the nodes"
    )
    return as_asked(parsed, text, _facts(cluster, counts, aside))


def _back(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Copy a cluster's journal and tokens here; the cluster stays in the database, and free."""
    state_dir.create(state)
    if state.database.exists():
        raise CommandFailed(
            f"{state.root} holds a journal already; name an empty directory with --state-dir"
        )
    with state_dir.locked(state), asking(parsed) as (cluster, watcher):
        counts, keys = move_out_of(watcher, state.database)
        for role in ROLES:
            state_dir.write_private(state.token(role), keys[role].encode())
    text = (
        f"moved {counts['inbound']} messages and {counts['card']} cards of cluster {cluster.name}"
        f" into {state.database}; take cluster out of the configuration, on all nodes, before"
        " larkd is started again"
    )
    return as_asked(parsed, text, _facts(cluster, counts, state.database))


def _facts(cluster: ClusterSettings, counts: Mapping[str, int], file: Path) -> dict[str, Any]:
    moved = {"messages": counts["inbound"], "cards": counts["card"]}
    return {"cluster": cluster.name, "file": str(file), **moved}
