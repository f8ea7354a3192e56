"""What a daemon is started with, whichever command line it came from."""

from __future__ import annotations

from pathlib import Path

import msgspec


class DaemonArguments(msgspec.Struct, frozen=True, kw_only=True):
    """The options of ``python -m actors.daemon`` and ``larkd daemon``."""

    config: Path | None = None
    state_dir: Path | None = None
    sandbox: bool = False
    sandbox_port: int = 0
    """Of the chat page; 0 picks a free one. Another one keeps its address over restarts."""
    check: bool = False
    stop: bool = False
    """End the daemon that serves the state directory, instead of being one."""
    json: bool = False
    """What ``--check`` and ``stop`` print, for scripts."""
    listen: str | None = None
    """``host:port`` as given; it is read together with the configuration."""
