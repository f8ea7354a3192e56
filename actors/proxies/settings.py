"""Who attaches to the daemon, and where."""

from __future__ import annotations

from pathlib import Path

import msgspec

from protocol import wire


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who attaches, and where.

    With *address* and *token* both given the state directory is not read.
    """

    session_id: str
    state_dir: Path
    role: wire.Role = "session"
    address: tuple[str, int] | None = None
    token: bytes | None = None
    metadata: dict[str, str] = {}
    capabilities: tuple[str, ...] = (wire.CAPABILITY_TURNS, wire.CAPABILITY_CANCEL)
    version: str = "0.1.0"
