"""How many connections may be open at once, of which kind, and which one gives way.

Who has proved nothing shares a few places, and the oldest of them gives way to a new one:
nobody without a token can keep sessions, or operators, out. Who has proved a role has
places of its own, derived from the descriptors this process may have.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from protocol.ids import ConnectionId

UNREGISTERED_MAX: Final = 64
REFUSED_MAX: Final = 64
"""Connections with a wrong proof that wait for their refusal."""
SESSIONLESS_MAX: Final = 64
"""Observers and operators, which come for one question."""
SESSIONS_MAX: Final = 2_048
SESSIONS_MIN: Final = 16
RESERVED: Final = 256
"""Descriptors for everything else: the journal, the platform's connections, logs, agents."""


NO_PLACE: Final = (
    "as many proxies are connected as this daemon may have descriptors for; close some, or raise"
    " its limit (ulimit -n)"
)


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """How many connections of proven roles may be open."""

    sessions: int = SESSIONS_MAX
    sessionless_max: int = SESSIONLESS_MAX


def capacity_of(descriptors: int) -> Capacity:
    """Derive the places from the number of descriptors the process may have open."""
    left = descriptors - RESERVED - UNREGISTERED_MAX - REFUSED_MAX - SESSIONLESS_MAX
    return Capacity(sessions=max(SESSIONS_MIN, min(SESSIONS_MAX, left)))


class Places:
    """The connections that are open, by what they have proved."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self._unregistered: OrderedDict[ConnectionId, Callable[[], None]] = OrderedDict()
        self._refused: OrderedDict[ConnectionId, Callable[[], None]] = OrderedDict()
        self._sessions: set[ConnectionId] = set()
        self._sessionless: set[ConnectionId] = set()

    def enter(self, connection_id: ConnectionId, drop: Callable[[], None]) -> None:
        """A connection opened; *drop* ends it at once when a newer one needs its place."""
        _enter(self._unregistered, UNREGISTERED_MAX, connection_id, drop)

    def registers(self, connection_id: ConnectionId) -> None:
        """Its whole ``register`` has arrived: it is nobody's oldest any more."""
        self._unregistered.pop(connection_id, None)

    def refuse(self, connection_id: ConnectionId) -> None:
        """Its proof is wrong; it waits for its refusal."""
        drop = self._unregistered.pop(connection_id, None)
        if drop is not None:
            _enter(self._refused, REFUSED_MAX, connection_id, drop)

    def admit(self, connection_id: ConnectionId, *, sessionless: bool) -> bool:
        """Its proof holds: give it a place of its kind; False: there is none."""
        places, most = (
            (self._sessionless, self.capacity.sessionless_max)
            if sessionless
            else (self._sessions, self.capacity.sessions)
        )
        if len(places) >= most:
            return False
        places.add(connection_id)
        return True

    def leave(self, connection_id: ConnectionId) -> None:
        self._unregistered.pop(connection_id, None)
        self._refused.pop(connection_id, None)
        self._sessions.discard(connection_id)
        self._sessionless.discard(connection_id)


def _enter(
    places: OrderedDict[ConnectionId, Callable[[], None]],
    most: int,
    connection_id: ConnectionId,
    drop: Callable[[], None],
) -> None:
    if len(places) >= most:
        _, oldest = places.popitem(last=False)
        oldest()
    places[connection_id] = drop
