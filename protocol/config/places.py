"""Where larkd keeps what: the configuration, the state directory and what is in it.

Pure: paths are computed from the environment that is given, nothing is touched.
The daemon and its proxies find each other by these names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from protocol.wire.vocabulary import Role

CONFIG_NAMES: Final = ("config.toml", "config.json")
TOKEN_CHARACTERS: Final = 43
"""32 random bytes in URL-safe base64 without padding."""


class StateDir(msgspec.Struct, frozen=True):
    """The state directory of one daemon, and the names in it."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "larkd.db"

    @property
    def lock(self) -> Path:
        return self.root / "larkd.lock"

    @property
    def log(self) -> Path:
        return self.root / "larkd.log"

    @property
    def daemon_json(self) -> Path:
        return self.root / "daemon.json"

    @property
    def console(self) -> Path:
        """Where the console is served while a daemon runs, without its token."""
        return self.root / "console.json"

    @property
    def started(self) -> Path:
        """How the daemon was started last: its configuration, and what else decides what it is."""
        return self.root / "started.json"

    @property
    def stopped(self) -> Path:
        """There where an operator stopped the daemon; autostart respects it."""
        return self.root / "stopped"

    @property
    def attachments(self) -> Path:
        return self.root / "attachments"

    @property
    def tokens(self) -> Path:
        return self.root / "tokens"

    def token(self, role: Role) -> Path:
        return self.tokens / f"{role}.token"


class DaemonInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of ``daemon.json``: the daemon that is serving."""

    host: str
    port: int
    pid: int
    version: str
    generation: int
    started_at: int
    """Milliseconds since 1970."""
    cluster: str | None = None
    node: str | None = None
    addresses: list[str] = []
    """Where proxies of other machines find this node, as ``tls://host:port``."""


def config_paths(env: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Where the configuration is looked for when nobody names it."""
    return tuple(_xdg(env, "XDG_CONFIG_HOME", home / ".config") / name for name in CONFIG_NAMES)


def state_dir(explicit: Path | None, env: Mapping[str, str], home: Path) -> StateDir:
    """``--state-dir``, else ``$LARKD_STATE_DIR``, else larkd's directory of the XDG state."""
    if explicit is not None:
        return StateDir(explicit)
    if named := env.get("LARKD_STATE_DIR"):
        return StateDir(Path(named))
    return StateDir(_xdg(env, "XDG_STATE_HOME", home / ".local" / "state"))


def sandbox_of(state: StateDir) -> StateDir:
    """Where ``larkd daemon --sandbox`` keeps its own, beside the real daemon's directory."""
    return StateDir(state.root.parent / f"{state.root.name}-sandbox")


def served_dir(
    explicit: Path | None, env: Mapping[str, str], home: Path, *, sandbox: bool
) -> StateDir:
    """What ``larkd daemon`` serves: a sandbox keeps out of the real daemon's, unless named."""
    state = state_dir(explicit, env, home)
    if sandbox and explicit is None and not env.get("LARKD_STATE_DIR"):
        return sandbox_of(state)
    return state


def _xdg(env: Mapping[str, str], name: str, default: Path) -> Path:
    base = Path(env.get(name) or default)
    # The XDG specification: a relative path is invalid and is ignored.
    return (base if base.is_absolute() else default) / "larkd"
