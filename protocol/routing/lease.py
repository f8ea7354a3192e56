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
from typing import Any, Final

import msgspec
from msgspec import Struct

from protocol.ids import ConnectionId, PlaceKey, SessionId, chat_of
from protocol.routing import alias
from protocol.wire.vocabulary import Role

SESSIONS_MAX: Final = 2_048
"""Live sessions of one daemon; twice what the daemon is built for."""

STATUS: Final = "feishu_channel_status"
GRANT: Final = "feishu_channel_grant"
ACQUIRE: Final = "feishu_channel_acquire"
RETURN: Final = "feishu_channel_return_to_dispatcher"
RECLAIM: Final = "feishu_channel_reclaim"
TOOLS: Final = (STATUS, GRANT, ACQUIRE, RETURN, RECLAIM)

OBSERVER_ONLY_STATUS: Final = f"an observer may call {STATUS} only"
_NO_SELECTOR: Final = "session_id or match is required"
_NO_DISPATCHER: Final = "no live dispatcher channel proxy is registered"


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


class State(Struct, frozen=True, kw_only=True):
    """Lease and roster. ``sessions`` is in order of connection."""

    lease: LeaseState = LeaseState()
    sessions: Mapping[SessionId, Session] = {}


class ToolError(Exception):
    """A tool's refusal: its text is the contract's."""


# ── the roster ──────────────────────────────────────────────────────────────


def register(state: State, session: Session) -> tuple[State, Session | None]:
    """Add a live session; return the state and the older connection it replaces.

    A dispatcher becomes the current one, and takes the channel if nobody owns it
    or the dispatcher before it does. A plain session changes nothing of the lease;
    only if it was the current dispatcher until now, that place goes to another one.
    """
    replaced = state.sessions.get(session.session_id)
    sessions = {key: value for key, value in state.sessions.items() if key != session.session_id}
    sessions[session.session_id] = session
    lease = state.lease
    if session.role == "dispatcher":
        takes_over = lease.owner is None or lease.owner == lease.dispatcher
        lease = msgspec.structs.replace(lease, dispatcher=session.session_id)
        if takes_over:
            lease = _give(lease, session.session_id)
    elif session.session_id == lease.dispatcher:
        lease = _succeed(lease, sessions)
    return State(lease=lease, sessions=sessions), replaced


def disconnect(state: State, connection_id: ConnectionId) -> tuple[State, Session | None]:
    """Take a connection's session off the roster; a newer connection of it stays.

    If it was the current dispatcher, the latest-registered live dispatcher becomes
    the current one. Ownership does not move.
    """
    gone = by_connection(state, connection_id)
    if gone is None:
        return state, None
    sessions = {key: value for key, value in state.sessions.items() if value is not gone}
    lease = state.lease
    if gone.session_id == lease.dispatcher:
        lease = _succeed(lease, sessions)
    return State(lease=lease, sessions=sessions), gone


def by_connection(state: State, connection_id: ConnectionId) -> Session | None:
    for session in state.sessions.values():
        if session.connection_id == connection_id:
            return session
    return None


def effective_target(state: State) -> SessionId | None:
    """Return the target of chats without a binding: the owner if live, else nobody.

    Only while nobody owns the channel it is the live dispatcher.
    """
    owner = state.lease.owner
    if owner is not None:
        return owner if owner in state.sessions else None
    dispatcher = live_dispatcher(state)
    return None if dispatcher is None else dispatcher.session_id


def live_dispatcher(state: State) -> Session | None:
    """Return the current dispatcher if it is live, and live as a dispatcher."""
    if state.lease.dispatcher is None:
        return None
    session = state.sessions.get(state.lease.dispatcher)
    return session if session is not None and session.role == "dispatcher" else None


def bound(bindings: Mapping[PlaceKey, SessionId], place: PlaceKey) -> SessionId | None:
    """Return the session a place is bound to; a topic without a binding follows its chat."""
    return bindings.get(place) or bindings.get(chat_of(place))


def target_of(state: State, place: PlaceKey) -> SessionId | None:
    """Return the live session this place is routed to now, or None: its rows wait."""
    wanted = bound(state.lease.bindings, place)
    if wanted is None:
        return effective_target(state)
    return wanted if wanted in state.sessions else None


def assigned(state: State, place: PlaceKey) -> SessionId | None:
    """Return the session a place is on, live or not: its own, else the channel's."""
    held = state.lease
    return bound(held.bindings, place) or held.owner or held.dispatcher


def without_own(state: State, place: PlaceKey) -> SessionId | None:
    """Return the session a place is on when its own binding ends."""
    followed = chat_of(place)
    own = None if followed == place else state.lease.bindings.get(followed)
    return own or state.lease.owner or state.lease.dispatcher


def row_target(state: State, dispatched_to: SessionId | None) -> SessionId | None:
    """Return the live session a row is routed to, or None: it waits.

    A row stays with the session its chat was bound to when it was dispatched; any
    other follows the owner.
    """
    if dispatched_to is None:
        return effective_target(state)
    return dispatched_to if dispatched_to in state.sessions else None


def moved_chats(old: State, new: State, *, all_of_them: bool) -> frozenset[PlaceKey]:
    """Return the chats whose waiting rows follow their new binding.

    What was dispatched to a live session runs there, whatever the chat is on now. What
    waits for one that is away need not wait for it any longer. When the dispatcher
    takes the chats back it takes *all of them*.
    """
    before, after = old.lease.bindings, new.lease.bindings
    changed = {chat for chat in before.keys() | after.keys() if before.get(chat) != after.get(chat)}
    return frozenset(chat for chat in changed if all_of_them or target_of(old, chat) is None)


def bind(state: State, place: PlaceKey, session_id: SessionId | None) -> State:
    """Bind a chat to a session, or let it follow the owner again (None)."""
    bindings = {key: value for key, value in state.lease.bindings.items() if key != place}
    if session_id is not None:
        bindings[place] = session_id
    return _with(state, msgspec.structs.replace(state.lease, bindings=bindings))


def unbind_all(state: State, session_id: SessionId) -> State:
    """End every binding of a chat to this session: it will not come back."""
    bindings = {key: value for key, value in state.lease.bindings.items() if value != session_id}
    return _with(state, msgspec.structs.replace(state.lease, bindings=bindings))


def choose_alias(session_id: SessionId, metadata: Mapping[str, str], taken: Iterable[str]) -> str:
    """Return the short name people use in chat, unique among *taken*."""
    folder = metadata.get("cwd", "").rstrip("/").rpartition("/")[2]
    name = metadata.get("alias") or metadata.get("teammate_name") or folder or session_id
    return alias.unique(name, frozenset(taken))


# ── the tools ───────────────────────────────────────────────────────────────


def call_tool(
    state: State, caller: Session, name: str, args: Mapping[str, Any]
) -> tuple[State, str]:
    """Carry out one of the tools that may change the lease.

    *caller* may be no session of the roster: an operator, who has the dispatcher's
    rights and can't hold the channel.

    ``feishu_channel_status`` is not here: it changes nothing and shows more than
    the lease knows (see :func:`describe`).

    Raises:
        ToolError: refused; the text is for the caller and nothing changed.
    """
    match name:
        case "feishu_channel_grant":
            return _grant(state, caller, args)
        case "feishu_channel_acquire":
            return _acquire(state, caller, args)
        case "feishu_channel_return_to_dispatcher":
            return _return(state, caller)
        case "feishu_channel_reclaim":
            return _reclaim(state, caller, args)
        case _:
            raise ToolError(f"Unknown tool: {name}")


def _grant(state: State, caller: Session, args: Mapping[str, Any]) -> tuple[State, str]:
    if caller.role != "dispatcher":
        raise ToolError("only the dispatcher may grant channel ownership")
    target = _select(state, args)
    if target is None:
        raise ToolError(_NO_SELECTOR)
    if target.role == "dispatcher":
        raise ToolError("dispatcher already owns the default channel target")
    lease = msgspec.structs.replace(state.lease, granted=target.session_id)
    return _with(state, lease), f"Feishu channel acquire grant issued to {target.session_id}."


def _acquire(state: State, caller: Session, args: Mapping[str, Any]) -> tuple[State, str]:
    target = _select(state, args) or state.sessions.get(caller.session_id)
    if target is None:
        raise ToolError(_NO_SELECTOR)
    lease = state.lease
    if caller.role != "dispatcher":
        if target.session_id != caller.session_id:
            raise ToolError("only the dispatcher may assign channel ownership to another session")
        if caller.session_id not in (lease.granted, lease.owner):
            raise ToolError("channel ownership was not granted by the dispatcher")
    lease = _give(lease, target.session_id)
    if lease.granted == target.session_id:
        lease = msgspec.structs.replace(lease, granted=None)
    return _with(state, lease), (
        f"Feishu channel owner is now {target.session_id} ({target.role}, epoch {lease.epoch})."
    )


def _return(state: State, caller: Session) -> tuple[State, str]:
    if caller.role != "dispatcher" and caller.session_id != state.lease.owner:
        raise ToolError("only the current owner may return the channel to dispatcher")
    lease = _give_to_dispatcher(state)
    return _with(state, lease), (
        f"Feishu channel owner returned to dispatcher {lease.owner} (epoch {lease.epoch})."
    )


def _reclaim(state: State, caller: Session, args: Mapping[str, Any]) -> tuple[State, str]:
    if caller.role != "dispatcher":
        raise ToolError("only the dispatcher may reclaim channel ownership")
    if live_dispatcher(state) is None and caller.session_id in state.sessions:
        dispatcher = msgspec.structs.replace(state.lease, dispatcher=caller.session_id)
        state = _with(state, dispatcher)
    lease = _give_to_dispatcher(state)
    if args.get("chats") is True:
        lease = msgspec.structs.replace(lease, bindings={})
    return _with(state, lease), (
        f"Feishu channel owner reclaimed by dispatcher {lease.owner} (epoch {lease.epoch})."
    )


def _give_to_dispatcher(state: State) -> LeaseState:
    dispatcher = live_dispatcher(state)
    if dispatcher is None:
        raise ToolError(_NO_DISPATCHER)
    return msgspec.structs.replace(_give(state.lease, dispatcher.session_id), granted=None)


def _give(lease: LeaseState, session_id: SessionId) -> LeaseState:
    """The only place where the owner changes: epoch up, grant gone, or nothing at all."""
    if lease.owner == session_id:
        return lease
    return msgspec.structs.replace(lease, owner=session_id, granted=None, epoch=lease.epoch + 1)


def _with(state: State, lease: LeaseState) -> State:
    return msgspec.structs.replace(state, lease=lease)


def _succeed(lease: LeaseState, sessions: Mapping[SessionId, Session]) -> LeaseState:
    """The current dispatcher is none any more: the latest-registered live one follows it."""
    heirs = [key for key, session in sessions.items() if session.role == "dispatcher"]
    return msgspec.structs.replace(lease, dispatcher=heirs[-1]) if heirs else lease


# ── selectors ───────────────────────────────────────────────────────────────


def _select(state: State, args: Mapping[str, Any]) -> Session | None:
    """Return the session that ``session_id`` or ``match`` names; None: neither given."""
    if "session_id" in args and "match" in args:
        raise ToolError("pass only one of session_id / match")
    if "session_id" in args:
        return _by_id(state, args["session_id"])
    if "match" in args:
        return _by_match(state, args["match"])
    return None


def _by_id(state: State, wanted: object) -> Session:
    if not isinstance(wanted, str) or not wanted:
        raise ToolError("session_id must be a non-empty string")
    session = state.sessions.get(SessionId(wanted))
    if session is None:
        raise ToolError(f"no live channel proxy session: {wanted}")
    return session


def _by_match(state: State, wanted: object) -> Session:
    if (
        not isinstance(wanted, dict)
        or not wanted
        or not all(isinstance(part, str) for pair in wanted.items() for part in pair)
    ):
        raise ToolError("match must be a non-empty object whose values are all strings")
    found = [
        session
        for session in state.sessions.values()
        if all(session.metadata.get(key) == value for key, value in wanted.items())
    ]
    if len(found) == 1:
        return found[0]
    shown = msgspec.json.encode(wanted).decode()
    if not found:
        raise ToolError(f"no live channel proxy matching: {shown}")
    candidates = ", ".join(session.session_id for session in found)
    raise ToolError(
        f"ambiguous match: {shown}; candidates: {candidates}; pass session_id to disambiguate"
    )


# ── status ──────────────────────────────────────────────────────────────────


def describe(state: State) -> dict[str, Any]:
    """Return the lease's part of ``feishu_channel_status``."""
    lease = state.lease
    return {
        "owner_session_id": lease.owner,
        "dispatcher_session_id": lease.dispatcher,
        "granted_session_id": lease.granted,
        "effective_target_session_id": effective_target(state),
        "lease_epoch": lease.epoch,
        "sessions": [
            {
                "sessionId": session.session_id,
                "pid": session.pid,
                "proxyVersion": session.proxy_version,
                "role": session.role,
                "metadata": dict(session.metadata),
                "alias": session.alias,
                "capabilities": list(session.capabilities),
                "connected_at": session.connected_at_ms,
            }
            for session in state.sessions.values()
        ],
        "bindings": dict(lease.bindings),
    }
