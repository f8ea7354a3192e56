"""Connections that are no session: observers, operators, and servers inside an agent.

Part of the ownership actor, which alone uses it.
"""

from __future__ import annotations

from actors.messages import ownership
from actors.ownership import admission
from protocol.ids import ConnectionId
from protocol.routing import lease
from protocol.wire.inside import speaks_for_session


class Sessionless:
    """Who may call tools without being listed, routed to, or replaced by anybody."""

    def __init__(self) -> None:
        self._connected: dict[ConnectionId, lease.Session] = {}
        self._inside: set[ConnectionId] = set()

    def came(self, message: ownership.RegisterSession, now_ms: int) -> None:
        connection_id = message.connection_id
        self._connected[connection_id] = admission.session(message, message.session_id, now_ms)
        if speaks_for_session(message.role, message.capabilities, message.proven_by):
            self._inside.add(connection_id)

    def left(self, connection_id: ConnectionId) -> None:
        self._connected.pop(connection_id, None)
        self._inside.discard(connection_id)

    def caller(
        self, connection_id: ConnectionId, state: lease.OwnershipState
    ) -> lease.Session | None:
        """Return who calls; inside an agent it is the session itself, while that is live."""
        caller = self._connected.get(connection_id)
        if caller is not None and connection_id in self._inside:
            return state.sessions.get(caller.session_id, caller)
        return caller
