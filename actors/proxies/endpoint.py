"""Where the daemon listens and what opens it, as its state directory says."""

from __future__ import annotations

import msgspec

from actors.proxies.errors import DaemonNotRunning
from actors.proxies.settings import ProxySettings
from protocol.config.places import DaemonInfo, StateDir


class Endpoint(msgspec.Struct, frozen=True):
    """The daemon's address and the key of our role."""

    host: str
    port: int
    token: bytes

    def __repr__(self) -> str:
        return f"Endpoint({self.host}:{self.port})"


def find_endpoint(settings: ProxySettings) -> Endpoint:
    """Return where to connect and what proves the role.

    Raises:
        DaemonNotRunning: neither the settings nor the state directory say so.
    """
    host, port = settings.address or _address(_state(settings, "an address"))
    token = settings.token
    if token is None:
        token = _token(_state(settings, "a token"), settings)
    return Endpoint(host, port, token)


def _state(settings: ProxySettings, missing: str) -> StateDir:
    if settings.state_dir is None:
        raise DaemonNotRunning(f"the settings have neither {missing} nor a state directory")
    return StateDir(settings.state_dir)


def _address(state: StateDir) -> tuple[str, int]:
    try:
        info = msgspec.json.decode(state.daemon_json.read_bytes(), type=DaemonInfo)
    except FileNotFoundError as missing:
        raise DaemonNotRunning(
            f"no larkd serves {state.root}; start it with: larkd daemon --state-dir {state.root}"
        ) from missing
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as unreadable:
        raise DaemonNotRunning(
            f"{state.daemon_json} can't be read ({unreadable}); run this as the user of larkd,"
            " or start larkd again"
        ) from unreadable
    return info.host, info.port


def _token(state: StateDir, settings: ProxySettings) -> bytes:
    path = state.token(settings.role)
    try:
        token = path.read_bytes().strip()
    except OSError as unreadable:
        raise DaemonNotRunning(
            f"{path} can't be read ({unreadable.strerror}); start larkd once, or run this as"
            " the same user"
        ) from unreadable
    if not token:
        raise DaemonNotRunning(f"{path} is empty; remove it and start larkd again to make it anew")
    return token
