"""The channel's tools: grant, acquire, return and reclaim, decided without waiting.

``feishu_channel_status`` is listed here too and answered elsewhere: it changes nothing and
shows more than the lease knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from protocol.ids import SessionId
from protocol.routing.lease import (
    LeaseState,
    OwnershipState,
    Session,
    give,
    live_dispatcher,
    with_lease,
)
from protocol.routing.targets import effective_target

STATUS: Final = "feishu_channel_status"
GRANT: Final = "feishu_channel_grant"
ACQUIRE: Final = "feishu_channel_acquire"
RETURN: Final = "feishu_channel_return_to_dispatcher"
RECLAIM: Final = "feishu_channel_reclaim"
TOOLS: Final = (STATUS, GRANT, ACQUIRE, RETURN, RECLAIM)

OBSERVER_ONLY_STATUS: Final = f"an observer may call {STATUS} only"
_NO_SELECTOR: Final = "session_id or match is required"
_NO_DISPATCHER: Final = "no live dispatcher channel proxy is registered"


class ToolError(Exception):
    """A tool's refusal; its text is for the model that called it."""


def call_tool(
    state: OwnershipState, caller: Session, name: str, args: Mapping[str, Any]
) -> tuple[OwnershipState, str]:
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


def _grant(
    state: OwnershipState, caller: Session, args: Mapping[str, Any]
) -> tuple[OwnershipState, str]:
    if caller.role != "dispatcher":
        raise ToolError("only the dispatcher may grant channel ownership")
    target = _select(state, args)
    if target is None:
        raise ToolError(_NO_SELECTOR)
    if target.role == "dispatcher":
        raise ToolError("dispatcher already owns the default channel target")
    lease = msgspec.structs.replace(state.lease, granted=target.session_id)
    return with_lease(state, lease), f"Feishu channel acquire grant issued to {target.session_id}."


def _acquire(
    state: OwnershipState, caller: Session, args: Mapping[str, Any]
) -> tuple[OwnershipState, str]:
    target = _select(state, args) or state.sessions.get(caller.session_id)
    if target is None:
        raise ToolError(_NO_SELECTOR)
    lease = state.lease
    if caller.role != "dispatcher":
        if target.session_id != caller.session_id:
            raise ToolError("only the dispatcher may assign channel ownership to another session")
        if caller.session_id not in (lease.granted, lease.owner):
            raise ToolError("channel ownership was not granted by the dispatcher")
    lease = give(lease, target.session_id)
    if lease.granted == target.session_id:
        lease = msgspec.structs.replace(lease, granted=None)
    return with_lease(state, lease), (
        f"Feishu channel owner is now {target.session_id} ({target.role}, epoch {lease.epoch})."
    )


def _return(state: OwnershipState, caller: Session) -> tuple[OwnershipState, str]:
    if caller.role != "dispatcher" and caller.session_id != state.lease.owner:
        raise ToolError("only the current owner may return the channel to dispatcher")
    lease = _give_to_dispatcher(state)
    return with_lease(state, lease), (
        f"Feishu channel owner returned to dispatcher {lease.owner} (epoch {lease.epoch})."
    )


def _reclaim(
    state: OwnershipState, caller: Session, args: Mapping[str, Any]
) -> tuple[OwnershipState, str]:
    if caller.role != "dispatcher":
        raise ToolError("only the dispatcher may reclaim channel ownership")
    if live_dispatcher(state) is None and caller.session_id in state.sessions:
        dispatcher = msgspec.structs.replace(state.lease, dispatcher=caller.session_id)
        state = with_lease(state, dispatcher)
    lease = _give_to_dispatcher(state)
    if args.get("chats") is True:
        lease = msgspec.structs.replace(lease, bindings={})
    return with_lease(state, lease), (
        f"Feishu channel owner reclaimed by dispatcher {lease.owner} (epoch {lease.epoch})."
    )


def _give_to_dispatcher(state: OwnershipState) -> LeaseState:
    dispatcher = live_dispatcher(state)
    if dispatcher is None:
        raise ToolError(_NO_DISPATCHER)
    return msgspec.structs.replace(give(state.lease, dispatcher.session_id), granted=None)


# ── selectors ───────────────────────────────────────────────────────────────


def _select(state: OwnershipState, args: Mapping[str, Any]) -> Session | None:
    """Return the session that ``session_id`` or ``match`` names; None: neither given."""
    if "session_id" in args and "match" in args:
        raise ToolError("pass only one of session_id / match")
    if "session_id" in args:
        return _by_id(state, args["session_id"])
    if "match" in args:
        return _by_match(state, args["match"])
    return None


def _by_id(state: OwnershipState, wanted: object) -> Session:
    if not isinstance(wanted, str) or not wanted:
        raise ToolError("session_id must be a non-empty string")
    session = state.sessions.get(SessionId(wanted))
    if session is None:
        raise ToolError(f"no live channel proxy session: {wanted}")
    return session


def _by_match(state: OwnershipState, wanted: object) -> Session:
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


def describe(state: OwnershipState) -> dict[str, Any]:
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
