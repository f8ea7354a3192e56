"""Which HTTP proxy leads to the outside, by the environment variables everybody uses.

``HTTPS_PROXY``, ``HTTP_PROXY`` and ``ALL_PROXY`` name it, ``NO_PROXY`` what is reached
without; small letters win over capitals, as in curl. Loopback is never reached through
one.
"""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import Mapping
from typing import Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct


class ProxyUnusableError(ValueError):
    """The environment names a proxy that can't be used; the text names the variable."""


class HttpProxy(Struct, frozen=True, kw_only=True):
    """One proxy, and as whom to use it."""

    tls: bool
    """Whether the proxy itself is spoken to over TLS."""
    host: str
    port: int
    username: str | None = None
    password: str = ""
    variable: str = "HTTPS_PROXY"
    """The variable that names it, for who has to change it."""

    @property
    def url(self) -> str:
        """Its address, without name and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    @property
    def authorization(self) -> str | None:
        """The value of ``Proxy-Authorization``, where a name is given."""
        if self.username is None:
            return None
        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()

    def remedy(self, host: str) -> str:
        """Return what to do where *host* is not reached through it, whatever it answers."""
        return (
            f"check {self.variable}: the proxy's address, its name and password, and that it lets"
            f" CONNECT to {host} through; NO_PROXY={host} goes around it"
        )

    def __repr__(self) -> str:
        """Leave out name and password."""
        return f"HttpProxy({self.url})"


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine by its name alone."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def proxy_for(
    environ: Mapping[str, str], scheme: Literal["http", "https"], host: str, port: int
) -> HttpProxy | None:
    """Return the proxy to *host*; None: it is reached directly.

    *scheme* is that of the target: ``https`` for a WebSocket over TLS, too.

    Raises:
        ProxyUnusableError: the variable that counts names none that can be used.
    """
    if is_loopback(host) or _is_excepted(environ, host, port):
        return None
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
        if value := environ.get(name, "").strip():
            return _read(name, value)
    return None


def _read(name: str, value: str) -> HttpProxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError as wrong:
        raise ProxyUnusableError(f"{name} is no address of a proxy") from wrong
    if parts.scheme not in {"http", "https"}:
        raise ProxyUnusableError(
            f"{name} names a {parts.scheme[:20]} proxy; larkd takes http://host:port or https://"
        )
    if not host:
        raise ProxyUnusableError(f"{name} names no host; write http://host:port")
    tls = parts.scheme == "https"
    return HttpProxy(
        tls=tls,
        host=host,
        port=port or (443 if tls else 80),
        username=None if parts.username is None else unquote(parts.username),
        password=unquote(parts.password or ""),
        variable=name,
    )


def _is_excepted(environ: Mapping[str, str], host: str, port: int) -> bool:
    listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(_excepts(entry.strip().lower(), host.lower(), port) for entry in listed.split(","))


def _excepts(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, colon, of_port = entry.rpartition(":")
    if colon and of_port.isdecimal() and ":" not in name:
        if int(of_port) != port:
            return False
        entry = name
    entry = entry.removeprefix("*").strip("[]")
    if not entry:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        # Names: the entry itself and all below it.
        return host == entry.removeprefix(".") or host.endswith(f".{entry.removeprefix('.')}")
