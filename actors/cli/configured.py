"""Which cluster a command is about, by a configuration. Needs no client of PostgreSQL."""

from __future__ import annotations

import os
from pathlib import Path

from actors.host import config_file
from actors.host.started import configuration_in_use
from protocol.config.places import StateDir
from protocol.config.settings import ClusterSettings
from protocol.errors import ConfigurationError


def cluster_of(state: StateDir, config: Path | None = None) -> ClusterSettings | None:
    """Return the cluster of *config*, else of what the state directory was last served with.

    None where it had none: the journal and the tokens are in the directory then.

    Raises:
        ConfigurationError: it had one, and can't be read here as the daemon read it; or
            *config* can't be read.
    """
    if config is not None:
        return config_file.settings(config_file.load(config), dict(os.environ), config).cluster
    path = configuration_in_use(state)
    if path is None:
        return None
    raw = {}
    try:
        raw = config_file.load(path)
        return config_file.settings(raw, dict(os.environ), path).cluster
    except ConfigurationError:
        if "cluster" in raw:
            raise
        return None
