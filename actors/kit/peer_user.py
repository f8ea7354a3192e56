"""Which user of this machine is at the other end of a TCP connection."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import Any, Final, Protocol

_SOCK_DIAG: Final = 4
_BY_FAMILY: Final = 20
_REQUEST: Final = 1
_ALL_STATES: Final = 0xFFFFFFFF
_NO_COOKIE: Final = b"\xff" * 8
_HEADER: Final = struct.Struct("=IHHII")
_WHAT: Final = struct.Struct("=BBBBI")
_STATE_AT: Final = 16 + 1
_ESTABLISHED: Final = 1
"""What is closed already has no user any more, and is reported as root's (``tcp_states.h``)."""
_UID_AT: Final = 16 + 4 + 48 + 12
"""In the answer: after its header, four bytes of state, both addresses and three numbers."""
_ANSWER_BYTES: Final = 4_096


class Addressed(Protocol):
    """What of a socket is asked, the system's or Trio's."""

    @property
    def family(self) -> int: ...
    def getpeername(self) -> Any: ...
    def getsockname(self) -> Any: ...


class PeerUsers:
    """Asks the system who is at the other end of connections to this process."""

    def __init__(self) -> None:
        self._asking: socket.socket | None = None

    def is_own(self, connected: Addressed) -> bool:
        """Whether the peer is a process of this user, or of root, on this machine.

        Linux answers (``sock_diag(7)``), for some 20 µs; elsewhere nobody is known to be.
        """
        if not sys.platform.startswith("linux"):
            return False
        try:
            uid = self._uid_of(connected.family, connected.getpeername(), connected.getsockname())
        except (OSError, ValueError, struct.error):
            self.close()  # an answer that comes late would be taken for the next one
            return False
        return uid in (0, os.geteuid())

    def close(self) -> None:
        """Close what is asked through; the next question opens it again."""
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def _uid_of(self, family: int, peer: tuple[str, int], ours: tuple[str, int]) -> int | None:
        """Ask for the socket that is to the peer what ours is to us."""
        identity = b"".join(
            (
                struct.pack(">HH", peer[1], ours[1]),
                socket.inet_pton(family, peer[0].partition("%")[0]).ljust(16, b"\0"),
                socket.inet_pton(family, ours[0].partition("%")[0]).ljust(16, b"\0"),
                struct.pack("=I", 0),
                _NO_COOKIE,
            )
        )
        what = _WHAT.pack(family, socket.IPPROTO_TCP, 0, 0, _ALL_STATES) + identity
        request = _HEADER.pack(_HEADER.size + len(what), _BY_FAMILY, _REQUEST, 0, 0) + what
        if self._asking is None:
            self._asking = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG)
            self._asking.setblocking(False)
        self._asking.send(request)
        answer = self._asking.recv(_ANSWER_BYTES)
        kind = _HEADER.unpack_from(answer)[1]
        if kind != _BY_FAMILY or answer[_STATE_AT] != _ESTABLISHED:
            return None  # there is no such socket here: the peer is on another machine, or gone
        uid: int = struct.unpack_from("=I", answer, _UID_AT)[0]
        return uid
