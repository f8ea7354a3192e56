"""Who attaches to the daemon, and where."""

from __future__ import annotations

from pathlib import Path

import msgspec

from protocol import __version__
from protocol.wire import messages as wire


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who attaches, and where.

    The address is *address*, else what ``daemon.json`` in *state_dir* says; the proof
    is made with *token*, else with the role's token file there. Both are looked up anew
    at each connection, so a daemon may come back on another port.
    """

    session_id: str
    state_dir: Path | None = None
    role: wire.Role = "session"
    address: tuple[str, int] | None = None
    token: bytes | None = None
    metadata: dict[str, str] = {}
    """``alias``, ``teammate_name``, ``cwd`` and ``agent`` are shown to people."""
    capabilities: tuple[str, ...] = (wire.CAPABILITY_TURNS, wire.CAPABILITY_CANCEL)
    """Without ``turns`` this is a channel session: it answers through tools."""
    version: str = __version__
    goodbye_s: float = 1.0
    """How long what was said last may take to go out when the proxy is left."""
    waits_for_daemon: bool = False
    """Open at once and keep trying, also where no daemon runs yet."""

    def __repr__(self) -> str:
        """Say who and where; the token stays out of logs and tracebacks."""
        where = self.address or self.state_dir
        return f"ProxySettings({self.session_id!r}, role={self.role!r}, at={where!r})"
