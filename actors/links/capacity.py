"""How many connections may be open at once, of which kind, and which one gives way.

Who has proved nothing shares a few places, and the oldest of them gives way to a new one.
Programs of the daemon's own user, who can read the tokens, have such places of their own:
nobody else of the machine can keep sessions, or operators, out, however fast he connects.
Who has proved a role has places derived from the descriptors this process may have.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from protocol.ids import ConnectionId

UNREGISTERED_MAX: Final = 64
REFUSED_MAX: Final = 64
"""Connections with a wrong proof that wait for their refusal."""
OBSERVERS_MAX: Final = 64
"""They come for one question: the oldest gives way, so that who may only look keeps nobody out."""
OPERATORS_MAX: Final = 64
SESSIONS_MAX: Final = 2_048
SESSIONS_MIN: Final = 16
RESERVED: Final = 256
"""Descriptors for everything else: the journal, the platform's connections, logs, agents."""


NO_PLACE: Final = (
    "as many proxies are connected as this daemon may have descriptors for; close some, or raise"
    " its limit (ulimit -n)"
)


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many connections of proven roles may be open."""

    sessions: int = SESSIONS_MAX
    operators: int = OPERATORS_MAX
    observers: int = OBSERVERS_MAX


Kind = Literal["session", "operator", "observer"]
"""Who speaks for a session, as the tools inside its agent do, counts as one."""


def capacity_of(descriptors: int) -> ConnectionLimits:
    """Derive the places from the number of descriptors the process may have open."""
    others = 2 * UNREGISTERED_MAX + REFUSED_MAX + OPERATORS_MAX + OBSERVERS_MAX
    left = descriptors - RESERVED - others
    return ConnectionLimits(sessions=max(SESSIONS_MIN, min(SESSIONS_MAX, left)))


class Places:
    """The connections that are open, by what they have proved."""

    def __init__(self, capacity: ConnectionLimits) -> None:
        self.capacity = capacity
        self._drops: dict[ConnectionId, Callable[[], None]] = {}
        self._unregistered: OrderedDict[ConnectionId, Callable[[], None]] = OrderedDict()
        self._own: OrderedDict[ConnectionId, Callable[[], None]] = OrderedDict()
        self._refused: OrderedDict[ConnectionId, Callable[[], None]] = OrderedDict()
        self._observers: OrderedDict[ConnectionId, Callable[[], None]] = OrderedDict()
        self._sessions: set[ConnectionId] = set()
        self._operators: set[ConnectionId] = set()

    def enter(self, connection_id: ConnectionId, drop: Callable[[], None], *, own: bool) -> None:
        """A connection opened; *drop* ends it at once when a newer one needs its place.

        *own* is whether it is of the daemon's own user, for sure.
        """
        self._drops[connection_id] = drop
        waiting = self._own if own else self._unregistered
        _enter(waiting, UNREGISTERED_MAX, connection_id, drop)

    def registers(self, connection_id: ConnectionId) -> None:
        """Its whole ``register`` has arrived: it is nobody's oldest any more."""
        self._unregistered.pop(connection_id, None)
        self._own.pop(connection_id, None)

    def refuse(self, connection_id: ConnectionId) -> None:
        """Its proof is wrong; it waits for its refusal."""
        drop = self._unregistered.pop(connection_id, None) or self._own.pop(connection_id, None)
        if drop is not None:
            _enter(self._refused, REFUSED_MAX, connection_id, drop)

    def admit(self, connection_id: ConnectionId, kind: Kind) -> bool:
        """Its proof holds: give it a place of its kind; False: there is none."""
        drop = self._drops.get(connection_id)
        if kind == "observer" and drop is not None:
            _enter(self._observers, self.capacity.observers, connection_id, drop)
            return True
        places, most = (
            (self._operators, self.capacity.operators)
            if kind == "operator"
            else (self._sessions, self.capacity.sessions)
        )
        if len(places) >= most:
            return False
        places.add(connection_id)
        return True

    def leave(self, connection_id: ConnectionId) -> None:
        self._drops.pop(connection_id, None)
        for queued in (self._unregistered, self._own, self._refused, self._observers):
            queued.pop(connection_id, None)
        self._sessions.discard(connection_id)
        self._operators.discard(connection_id)


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
