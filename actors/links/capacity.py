"""How many connections may be open at once, of which kind, and which one gives way.

Who has proved nothing shares a few places, and the oldest of them gives way to a new one.
Programs of the daemon's own user, who can read the tokens, have such places of their own:
nobody else of the machine can keep sessions, or operators, out, however fast he connects.
Who has proved a role has places derived from the descriptors this process may have, and keeps
his until he leaves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal

import msgspec
import trio

from protocol.ids import ConnectionId

UNREGISTERED_MAX: Final = 64
WAITS_AT_LEAST_S: Final = 0.05
"""The oldest gives way only after it: in a flood, who connects still has the time to register."""
REFUSED_MAX: Final = 64
"""Connections with a wrong proof that wait for their refusal."""
OBSERVERS_MAX: Final = 64
"""Who has a place keeps it. ``larkd status`` takes one of the operators' where all are taken."""
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


ConnectionKind = Literal["session", "operator", "observer"]
"""Who speaks for a session, as the tools inside its agent do, counts as one; who looks, and
proves it with the dispatcher's token, as an operator."""


def capacity_of(descriptors: int) -> ConnectionLimits:
    """Derive the places from the number of descriptors the process may have open."""
    others = 2 * UNREGISTERED_MAX + REFUSED_MAX + OPERATORS_MAX + OBSERVERS_MAX
    left = descriptors - RESERVED - others
    return ConnectionLimits(sessions=max(SESSIONS_MIN, min(SESSIONS_MAX, left)))


class _Place(msgspec.Struct, frozen=True):
    since: float
    drop: Callable[[], None]


_Waiting = OrderedDict[ConnectionId, _Place]


class Places:
    """The connections that are open, by what they have proved."""

    def __init__(self, capacity: ConnectionLimits) -> None:
        self.capacity = capacity
        self._unregistered: _Waiting = OrderedDict()
        self._own: _Waiting = OrderedDict()
        self._refused: _Waiting = OrderedDict()
        self._proven: dict[ConnectionKind, set[ConnectionId]] = {
            "session": set(),
            "operator": set(),
            "observer": set(),
        }

    async def wait_free(self, *, own: bool) -> None:
        """Wait until one more may enter: the place of the oldest is its own for a moment.

        So a flood is taken at a pace, and what exceeds it waits in the system's queue.
        """
        waiting = self._own if own else self._unregistered
        while len(waiting) >= UNREGISTERED_MAX:
            due = next(iter(waiting.values())).since + WAITS_AT_LEAST_S
            if due <= trio.current_time():
                return
            await trio.sleep_until(due)

    def enter(self, connection_id: ConnectionId, drop: Callable[[], None], *, own: bool) -> None:
        """A connection opened; *drop* ends it at once when a newer one needs its place.

        *own* is whether it is of the daemon's own user, for sure.
        """
        waiting = self._own if own else self._unregistered
        place = _Place(trio.current_time(), drop)
        _enter(waiting, UNREGISTERED_MAX, connection_id, place)

    def registers(self, connection_id: ConnectionId) -> None:
        """Its whole ``register`` has arrived: it is nobody's oldest any more."""
        self._unregistered.pop(connection_id, None)
        self._own.pop(connection_id, None)

    def refuse(self, connection_id: ConnectionId) -> None:
        """Its proof is wrong; it waits for its refusal."""
        place = self._unregistered.pop(connection_id, None) or self._own.pop(connection_id, None)
        if place is not None:
            _enter(self._refused, REFUSED_MAX, connection_id, place)

    def admit(self, connection_id: ConnectionId, kind: ConnectionKind) -> bool:
        """Its proof holds: give it a place of its kind; False: there is none."""
        most: dict[ConnectionKind, int] = {
            "session": self.capacity.sessions,
            "operator": self.capacity.operators,
            "observer": self.capacity.observers,
        }
        places = self._proven[kind]
        if len(places) >= most[kind]:
            return False
        places.add(connection_id)
        return True

    def leave(self, connection_id: ConnectionId) -> None:
        for queued in (self._unregistered, self._own, self._refused):
            queued.pop(connection_id, None)
        for places in self._proven.values():
            places.discard(connection_id)


def _enter(places: _Waiting, most: int, connection_id: ConnectionId, place: _Place) -> None:
    if len(places) >= most:
        _, oldest = places.popitem(last=False)
        oldest.drop()
    places[connection_id] = place
