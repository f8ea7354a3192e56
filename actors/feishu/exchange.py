"""One request and its answer, as the adapter sees them: what carries them is a transport."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec


class Deadlines(NamedTuple):
    """How long each phase of a call may take, in seconds."""

    connect: float
    write: float
    read: float
    """Between two reads."""


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the platform."""

    method: str
    path: str
    """With its query; quoted."""
    headers: tuple[tuple[str, str], ...] = ()
    """But for the host, which the transport knows. They state the body's length."""
    body: Iterable[bytes] = ()

    def __repr__(self) -> str:
        """Leave out headers and body: they may hold what users write, or a token."""
        return f"HttpRequest({self.method} {self.path})"


class HttpAnswer(Protocol):
    """An answer, whose body is read from its connection until it is closed."""

    status: int
    headers: Mapping[str, str]
    """Their names in small letters."""

    async def chunk(self) -> bytes | None:
        """Return more of the body; None: that was all."""

    def close(self) -> None:
        """Give the connection back. One whose answer was not read to its end is closed."""


class Transport(Protocol):
    """What carries calls to the platform."""

    async def exchange(self, request: HttpRequest, within: Deadlines) -> HttpAnswer:
        """Send the request; return its answer as soon as its head is there.

        Raises:
            OSError, trio.BrokenResourceError: the host is not reached, or hung up.
            h11.ProtocolError: what it sends is no HTTP.
            trio.TooSlowError: a phase took longer than it may.
        """

    async def aclose(self) -> None:
        """Close what is kept between calls."""
