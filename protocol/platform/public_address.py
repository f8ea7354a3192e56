"""Which addresses of the web may be fetched because an agent named them: public ones only."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

_PORTS = {"http": 80, "https": 443}
_METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        (
            "168.63.129.16",  # Azure, in public address space
            "169.254.169.254",  # AWS, GCP, Azure and most others; link-local
            "169.254.170.2",  # AWS, credentials of containers
            "100.100.100.200",  # Alibaba Cloud
            "192.0.0.192",  # Oracle Cloud
            "fd00:ec2::254",  # AWS by IPv6
            "fd20:ce::254",  # GCP by IPv6
        ),
    )
)
"""Where clouds hand out credentials to whoever asks from inside, as they document it."""
_NOT_PUBLIC: Final = (
    ipaddress.ip_network("fec0::/10"),  # site-local, deprecated; global by the registry
    ipaddress.ip_network("64:ff9b:1::/48"),  # NAT64 of a network's own
)


class PublicTarget(Struct, frozen=True):
    """One address of the web, taken apart."""

    scheme: str
    host: str
    port: int
    path: str
    """With the query; never empty."""

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"


def read_target(url: str) -> PublicTarget | None:
    """Take an address apart; None: it is no plain http or https one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not host or parts.username is not None:
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return PublicTarget(parts.scheme, host, _PORTS[parts.scheme] if port is None else port, path)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public network.

    Also looks through addresses that carry another one (mapped, 6to4, Teredo, NAT64).
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        teredo = ip.teredo[1] if ip.teredo else None
        for inner in (ip.ipv4_mapped, ip.sixtofour, teredo):
            if inner is not None:
                return is_public(str(inner))
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if any(ip in network for network in _NOT_PUBLIC):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and ip not in _METADATA
