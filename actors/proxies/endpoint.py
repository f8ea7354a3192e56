"""Where the daemon listens and what opens it, by its state directory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import trio

from actors.host.advice import start_of
from actors.kit.tls import CertificateUnusable, TlsStream, client_context
from actors.proxies.errors import DaemonNotRunning
from actors.proxies.settings import ProxySettings
from protocol.config.places import DaemonInfo, StateDir
from protocol.errors import RemoteProtocolError
from protocol.wire import codec
from protocol.wire.addresses import Address, parse_address
from protocol.wire.framing import FrameReader
from protocol.wire.messages import Hello

PROBE_WITHIN_S: Final = 1.0
PROBE_BYTES: Final = 4_096


class Endpoint(msgspec.Struct, frozen=True):
    """A daemon's address and the key of our role."""

    address: Address
    token: bytes

    def __repr__(self) -> str:
        return f"Endpoint({self.address})"


class Route:
    """Which addresses are tried, in which order: the holder may be any of several nodes."""

    def __init__(self, settings: ProxySettings) -> None:
        self._settings = settings
        self._named: list[Address] = []
        self._served: Address | None = None

    def round(self) -> Iterator[Endpoint]:
        """Give what to try, each once: what was named last, who served last, the others.

        An address that is named meanwhile comes next.

        Raises:
            DaemonNotRunning: neither the settings nor the state directory name any.
        """
        known = self._known()
        token = self._token()
        tried: set[Address] = set()
        while True:
            waiting = [*self._named, *([self._served] if self._served in known else []), *known]
            self._named = []
            untried = [one for one in waiting if one is not None and one not in tried]
            if not untried:
                return
            tried.add(untried[0])
            yield Endpoint(untried[0], token)

    def named(self, at: Iterable[str]) -> None:
        """Note where a node sees the holder. Only TLS with a verified name is followed."""
        if self._settings.ca_file is not None:
            found = [parse_address(one) for one in at]
            self._named = [one for one in found if one is not None and one.tls]

    def served(self, address: Address) -> None:
        self._served = address

    @property
    def clustered(self) -> bool:
        return bool(self._settings.addresses)

    def _known(self) -> tuple[Address, ...]:
        if self._settings.addresses:
            return self._settings.addresses
        host, port = self._settings.address or _address(_state(self._settings, "an address"))
        return (Address(host, port),)

    def _token(self) -> bytes:
        settings = self._settings
        if settings.token is not None:
            return settings.token
        if settings.token_file is not None:
            return _token(settings.token_file, "name the role's token in LARKD_TOKEN_FILE")
        own = _state(settings, "a token").token(settings.role)
        return _token(own, "start larkd once, or run this as the same user")


async def connect(endpoint: Endpoint, settings: ProxySettings) -> trio.abc.Stream:
    """Connect, and over TLS verify the certificate and its name.

    Raises:
        OSError: nobody listens there, or the certificate is not theirs.
    """
    address = endpoint.address
    plain = await trio.open_tcp_stream(address.host, address.port)
    if not address.tls:
        return plain
    try:
        context = client_context(
            *(
                None if file is None else os.fspath(file)
                for file in (settings.ca_file, settings.cert_file, settings.key_file)
            )
        )
        stream = TlsStream(plain, context, server_hostname=address.host)
        await stream.shake_hands()
    except trio.BrokenResourceError as failed:
        await trio.aclose_forcefully(plain)
        raise OSError(str(failed) or "it closed the connection in the TLS handshake") from failed
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise
    return stream


async def another_serves(endpoint: Endpoint, settings: ProxySettings) -> Address | None:
    """Return another of the cluster's addresses that serves now; None where none does.

    A node that stands by refuses at once; one that serves greets. Over TLS its certificate
    is verified, so nobody else is believed. All are asked at once: one that is away as well
    keeps nobody from the one that serves.
    """
    found: list[Address] = []

    async def look(address: Address, others: trio.CancelScope) -> None:
        if await _greets(Endpoint(address, endpoint.token), settings):
            found.append(address)
            others.cancel(reason="one serves")

    with trio.move_on_after(PROBE_WITHIN_S):
        async with trio.open_nursery() as nursery:
            for address in settings.addresses:
                if address != endpoint.address:
                    nursery.start_soon(look, address, nursery.cancel_scope)
    return found[0] if found else None


async def _greets(endpoint: Endpoint, settings: ProxySettings) -> bool:
    """Return whether who listens there serves."""
    try:
        async with await connect(endpoint, settings) as stream:
            reader = FrameReader()
            while data := await stream.receive_some(PROBE_BYTES):
                reader.feed(data)
                for body in reader:
                    return isinstance(codec.decode_from_daemon(body), Hello)
    except (OSError, trio.BrokenResourceError, RemoteProtocolError, CertificateUnusable):
        pass  # whoever else listens there is none of ours
    return False


def _state(settings: ProxySettings, missing: str) -> StateDir:
    if settings.state_dir is None:
        raise DaemonNotRunning(f"the settings have neither {missing} nor a state directory")
    return StateDir(settings.state_dir)


def _address(state: StateDir) -> tuple[str, int]:
    try:
        info = msgspec.json.decode(state.daemon_json.read_bytes(), type=DaemonInfo)
    except FileNotFoundError as missing:
        raise DaemonNotRunning(
            f"no larkd serves {state.root}; start it with: {start_of(state)}"
        ) from missing
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as unreadable:
        raise DaemonNotRunning(
            f"{state.daemon_json} can't be read ({unreadable}); run this as the user of larkd,"
            f" or start larkd again: {start_of(state)}"
        ) from unreadable
    return info.host, info.port


def _token(path: Path, remedy: str) -> bytes:
    try:
        token = path.read_bytes().strip()
    except OSError as unreadable:
        raise DaemonNotRunning(
            f"{path} can't be read ({unreadable.strerror}); {remedy}"
        ) from unreadable
    if not token:
        raise DaemonNotRunning(f"{path} is empty; remove it and start larkd again to make it anew")
    return token
