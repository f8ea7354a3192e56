"""Who registers: whether it may, and as what."""

from __future__ import annotations

from actors.messages import ownership
from protocol.routing import lease
from protocol.wire import messages as wire


def is_sessionless(message: ownership.Register) -> bool:
    """Whether it comes to ask or to operate, and is no session."""
    return message.role == "observer" or wire.is_operator(message.role, message.capabilities)


def refusal(
    message: ownership.Register, state: lease.State, *, leaving: bool
) -> ownership.NotAdmitted | None:
    if leaving:
        return ownership.NotAdmitted(
            code="draining", message="the daemon is leaving; connect again in a moment"
        )
    known = message.session_id in state.sessions
    if not known and len(state.sessions) >= lease.SESSIONS_MAX:
        return ownership.NotAdmitted(
            code="too_many_sessions",
            message=f"{lease.SESSIONS_MAX} sessions are live already; close some first",
        )
    return None


def session(message: ownership.Register, alias: str, connected_at_ms: int) -> lease.Session:
    return lease.Session(
        session_id=message.session_id,
        connection_id=message.connection_id,
        role=message.role,
        alias=alias,
        pid=message.pid,
        proxy_version=message.proxy_version,
        metadata=message.metadata,
        capabilities=tuple(sorted(message.capabilities)),
        connected_at_ms=connected_at_ms,
    )
