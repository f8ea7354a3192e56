"""Who chats are routed to: the lease of the channel, decided in one place without waiting.

The state is the persisted lease (owner, dispatcher, grant, epoch, bindings) and the
roster of live sessions. Each function takes a state and returns the next one with
the answer; the ownership actor commits what changed before it answers anyone.

Rules that hold in every state:

* the epoch rises by one exactly when the owner's id changes, and never otherwise;
* a session going away clears nothing: liveness is asked when it is needed;
* the effective target is the owner if live, else nobody, never somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from protocol.ids import ConnectionId, PlaceKey, SessionId
from protocol.routing import alias
from protocol.wire.vocabulary import Role

SESSIONS_MAX: Final = 2_048
"""Live sessions of one daemon; twice what the daemon is built for."""


class LeaseState(Struct, frozen=True, kw_only=True):
    """The part that is committed to the journal and survives restarts."""

    owner: SessionId | None = None
    dispatcher: SessionId | None = None
    granted: SessionId | None = None
    epoch: int = 0
    bindings: Mapping[PlaceKey, SessionId] = {}


class Session(Struct, frozen=True, kw_only=True):
    """One live session, and the connection that speaks for it."""

    session_id: SessionId
    connection_id: ConnectionId
    role: Role
    alias: str
    pid: int
    proxy_version: str
    metadata: Mapping[str, str]
    capabilities: tuple[str, ...]
    connected_at_ms: int


class OwnershipState(Struct, frozen=True, kw_only=True):
    """Lease and roster. ``sessions`` is in order of connection."""

    lease: LeaseState = LeaseState()
    sessions: Mapping[SessionId, Session] = {}


# ── the roster ──────────────────────────────────────────────────────────────


def register(state: OwnershipState, session: Session) -> tuple[OwnershipState, Session | None]:
    """Add a live session; return the state and the older connection it replaces.

    A dispatcher becomes the current one, and takes the channel if nobody owns it
    or the dispatcher before it does. A plain session changes nothing of the lease;
    only if it was the current dispatcher until now, that place goes to another one.
    """
    sessions = dict(state.sessions)
    replaced = sessions.pop(session.session_id, None)  # a new connection is the last in order
    sessions[session.session_id] = session
    lease = state.lease
    if session.role == "dispatcher":
        takes_over = lease.owner is None or lease.owner == lease.dispatcher
        lease = msgspec.structs.replace(lease, dispatcher=session.session_id)
        if takes_over:
            lease = give(lease, session.session_id)
    elif session.session_id == lease.dispatcher:
        lease = _succeed(lease, sessions)
    return OwnershipState(lease=lease, sessions=sessions), replaced


def disconnect(
    state: OwnershipState, connection_id: ConnectionId
) -> tuple[OwnershipState, Session | None]:
    """Take a connection's session off the roster; a newer connection of it stays.

    If it was the current dispatcher, the latest-registered live dispatcher becomes
    the current one. Ownership does not move.
    """
    gone = by_connection(state, connection_id)
    if gone is None:
        return state, None
    sessions = dict(state.sessions)
    del sessions[gone.session_id]
    lease = state.lease
    if gone.session_id == lease.dispatcher:
        lease = _succeed(lease, sessions)
    return OwnershipState(lease=lease, sessions=sessions), gone


def by_connection(state: OwnershipState, connection_id: ConnectionId) -> Session | None:
    for session in state.sessions.values():
        if session.connection_id == connection_id:
            return session
    return None


def live_dispatcher(state: OwnershipState) -> Session | None:
    """Return the current dispatcher if it is live, and live as a dispatcher."""
    if state.lease.dispatcher is None:
        return None
    session = state.sessions.get(state.lease.dispatcher)
    return session if session is not None and session.role == "dispatcher" else None


def bind(state: OwnershipState, place: PlaceKey, session_id: SessionId | None) -> OwnershipState:
    """Bind a chat to a session, or let it follow the owner again (None)."""
    bindings = {key: value for key, value in state.lease.bindings.items() if key != place}
    if session_id is not None:
        bindings[place] = session_id
    return with_lease(state, msgspec.structs.replace(state.lease, bindings=bindings))


def unbind_all(state: OwnershipState, session_id: SessionId) -> OwnershipState:
    """End every binding of a chat to this session: it will not come back."""
    bindings = {key: value for key, value in state.lease.bindings.items() if value != session_id}
    return with_lease(state, msgspec.structs.replace(state.lease, bindings=bindings))


def give(lease: LeaseState, session_id: SessionId) -> LeaseState:
    """The only place where the owner changes: epoch up, grant gone, or nothing at all."""
    if lease.owner == session_id:
        return lease
    return msgspec.structs.replace(lease, owner=session_id, granted=None, epoch=lease.epoch + 1)


def with_lease(state: OwnershipState, lease: LeaseState) -> OwnershipState:
    return msgspec.structs.replace(state, lease=lease)


def _succeed(lease: LeaseState, sessions: Mapping[SessionId, Session]) -> LeaseState:
    """The current dispatcher is none any more: the latest-registered live one follows it."""
    heirs = [key for key, session in sessions.items() if session.role == "dispatcher"]
    return msgspec.structs.replace(lease, dispatcher=heirs[-1]) if heirs else lease


def choose_alias(session_id: SessionId, metadata: Mapping[str, str], taken: Iterable[str]) -> str:
    """Return the short name people use in chat, unique among *taken*."""
    folder = metadata.get("cwd", "").rstrip("/").rpartition("/")[2]
    name = metadata.get("alias") or metadata.get("teammate_name") or folder or session_id
    return alias.unique(name, frozenset(taken))
