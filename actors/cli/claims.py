"""What commands ask the database of a configured cluster."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.cli.output import CommandFailed
from actors.host import config_file
from actors.host.advice import WITH_POSTGRES
from actors.journal import JournalError
from protocol.config.settings import ClusterSettings
from protocol.errors import ConfigurationError

try:
    from actors.journal.postgres import DatabaseError, Target, Watcher
except ImportError as missing:
    raise ConfigurationError(
        "this is for several machines with one journal in PostgreSQL, whose client is not"
        f" installed: {WITH_POSTGRES}; one machine alone has no use for it"
    ) from missing


@contextmanager
def asking(parsed: argparse.Namespace) -> Iterator[tuple[ClusterSettings, Watcher]]:
    """Connect to the database of the configuration's cluster.

    Raises:
        ConfigurationError: there is no configuration, or it has no cluster.
        CommandFailed: the database can't be used.
    """
    env = dict(os.environ)
    path = config_file.find(parsed.config, env, Path.home())
    if path is None:
        raise ConfigurationError("there is no configuration; name one with --config FILE")
    cluster = config_file.settings(config_file.load(path), env, path).cluster
    if cluster is None:
        raise ConfigurationError(f"{path}: it has no cluster: this larkd serves one machine")
    with asking_of(cluster) as watcher:
        yield cluster, watcher


@contextmanager
def asking_of(cluster: ClusterSettings) -> Iterator[Watcher]:
    """Connect to the database of a cluster.

    Raises:
        CommandFailed: the database can't be used.
    """
    try:
        watcher = Watcher.open(target_of(cluster))
        try:
            yield watcher
        finally:
            watcher.close()
    except (JournalError, DatabaseError) as failed:
        raise CommandFailed(" ".join(str(failed).split())) from None


def target_of(cluster: ClusterSettings) -> Target:
    """Return the cluster's database, asked by a command of this node."""
    return Target(
        database=cluster.database.reveal(),
        cluster=cluster.name,
        node=f"{cluster.node or socket.gethostname()} command",
    )
