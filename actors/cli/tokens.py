"""``larkd tokens rotate``: a new token for a role."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

from actors.cli.configured import cluster_of
from actors.cli.output import Output, as_asked
from actors.host import tokens
from actors.host.started import configuration_in_use
from protocol.config.places import StateDir
from protocol.config.settings import ClusterSettings


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Replace the role's token: in the directory, or in the database of its cluster.

    Raises:
        ConfigurationError: there is no state directory, or it can't be written; or the
            configuration can't be read.
        CommandFailed: the cluster's database can't be used.
    """
    config: Path | None = getattr(parsed, "config", None)
    if config or (configuration_in_use(state) is not None and not state.database.exists()):
        cluster = cluster_of(state, config)
        if cluster is not None:
            return _in_database(cluster, parsed)
    path = tokens.rotate(state, parsed.role, secrets.token_urlsafe)
    text = (
        f"new {parsed.role} token in {path}; the old one proves nothing any more."
        " Open connections stay."
    )
    return as_asked(parsed, text, {"role": parsed.role, "file": str(path), "cluster": None})


def _in_database(cluster: ClusterSettings, parsed: argparse.Namespace) -> Output:
    from actors.cli.claims import asking_of  # noqa: PLC0415  # it needs larkd[postgres]
    from actors.journal import postgres  # noqa: PLC0415  # as above

    role = parsed.role
    with asking_of(cluster) as watcher:
        key = secrets.token_urlsafe(tokens.TOKEN_BYTES)
        postgres.rotate(watcher.connection, cluster.name, role, key)
    text = (
        f"new {role} token in the database of cluster {cluster.name}; its nodes write it to their"
        f" tokens/{role}.token within a second, and the old one proves nothing any more."
        " Open connections stay."
    )
    return as_asked(parsed, text, {"role": role, "file": None, "cluster": cluster.name})
