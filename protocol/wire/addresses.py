"""Where a daemon listens, as people and nodes write it: ``tls://host:port``, ``host:port``."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

_ADDRESS: Final = re.compile(r"(tls://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
PORT_MAX: Final = 65_535


class Address(Struct, frozen=True):
    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls://' if self.tls else ''}{host}:{self.port}"


def parse_address(text: str) -> Address | None:
    """Return the address in *text*; None where it is none."""
    found = _ADDRESS.fullmatch(text.strip())
    if found is None or not 0 < int(found[3]) <= PORT_MAX:
        return None
    return Address(found[2].strip("[]"), int(found[3]), tls=found[1] is not None)


def parse_addresses(text: str) -> tuple[Address, ...] | None:
    """Return the addresses of a list with commas; None where one of them is none."""
    found = [parse_address(one) for one in text.split(",") if one.strip()]
    if not found or any(one is None for one in found):
        return None
    return tuple(one for one in found if one is not None)
