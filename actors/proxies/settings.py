"""Who attaches to the daemon, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from protocol import __version__
from protocol.errors import ConfigurationError
from protocol.wire import vocabulary
from protocol.wire.addresses import Address, parse_addresses


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who attaches, and where.

    The address is *address*, else what ``daemon.json`` in *state_dir* holds; the proof
    is made with *token*, else with the role's token file there. Both are looked up anew
    at each connection, so a daemon may come back on another port.
    """

    session_id: str
    state_dir: Path | None = None
    role: vocabulary.Role = "session"
    address: tuple[str, int] | None = None
    token: bytes | None = None
    addresses: tuple[Address, ...] = ()
    """Of a cluster's nodes, in the place of *address*: whichever serves it is found."""
    token_file: Path | None = None
    """In the place of the state directory's."""
    ca_file: Path | None = None
    """Who signed the nodes' certificates; None: the system's authorities, and no address that
    a node names is followed."""
    cert_file: Path | None = None
    """What is shown to nodes that want a certificate; its key is in *key_file*."""
    key_file: Path | None = None
    metadata: dict[str, str] = {}
    """``alias``, ``teammate_name``, ``cwd`` and ``agent`` are shown to people."""
    capabilities: tuple[str, ...] = (vocabulary.CAPABILITY_TURNS, vocabulary.CAPABILITY_CANCEL)
    """Without ``turns`` this is a channel session: it answers through tools."""
    version: str = __version__
    goodbye_s: float = 1.0
    """How long what was sent last may take to go out when the proxy is left."""
    waits_for_daemon: bool = False
    """Open at once and keep trying, also where no daemon runs yet."""

    @property
    def proves_with(self) -> Path | None:
        """The file that was named for the token; None: it comes from elsewhere."""
        return None if self.token is not None else self.token_file

    def __repr__(self) -> str:
        """Show who and where; the token stays out of logs and tracebacks."""
        where = self.addresses or self.address or self.state_dir
        return f"ProxySettings({self.session_id!r}, role={self.role!r}, at={where!r})"


def of_environment(settings: ProxySettings, environ: Mapping[str, str]) -> ProxySettings:
    """Return *settings* with what ``LARKD_ADDRESS`` and ``LARKD_…_FILE`` name.

    Raises:
        ConfigurationError: an address is none, or a certificate has no key.
    """
    addresses: tuple[Address, ...] | None = settings.addresses
    if named := environ.get("LARKD_ADDRESS"):
        addresses = parse_addresses(named)
        if addresses is None:
            raise ConfigurationError(
                f"LARKD_ADDRESS: {named!r} is no list of addresses; write it as"
                " tls://a.example:7346,tls://b.example:7346"
            )
    files = {
        field: Path(named)
        for field in ("token_file", "ca_file", "cert_file", "key_file")
        if (named := environ.get(f"LARKD_{field.upper()}"))
    }
    if ("cert_file" in files) != ("key_file" in files):
        raise ConfigurationError("LARKD_CERT_FILE and LARKD_KEY_FILE belong together: set both")
    return msgspec.structs.replace(settings, addresses=addresses, **files)


def inside_environment(settings: ProxySettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what an agent's own ``larkd mcp`` needs to offer the tools of this session.

    Places and names alone: the token is read from its file.
    """
    places = (
        *("LARKD_STATE_DIR", "LARKD_ADDRESS", "LARKD_TOKEN_FILE"),
        *("LARKD_CA_FILE", "LARKD_CERT_FILE", "LARKD_KEY_FILE"),
    )
    named = {key: environ[key] for key in places if environ.get(key)}
    if settings.state_dir is not None:
        named["LARKD_STATE_DIR"] = str(settings.state_dir.absolute())
    return named | {
        "LARKD_INSIDE": "acp",
        "LARKD_SESSION_ID": settings.session_id,
        "LARKD_ROLE": settings.role,
    }
