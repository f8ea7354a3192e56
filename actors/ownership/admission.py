"""Who registers: whether it may, and as what."""

from __future__ import annotations

from actors.messages import ownership
from protocol.routing import lease
from protocol.routing.roster import KnownSession
from protocol.wire import vocabulary
from protocol.wire.inside import speaks_for_session

VERSION_CHARACTERS_MAX = 128
CAPABILITY_CHARACTERS_MAX = 64
CAPABILITIES_MAX = 32
"""What is kept of what a proxy registers of itself; known capabilities stay."""


def is_sessionless(message: ownership.RegisterSession) -> bool:
    """Whether it comes to ask or to operate, and is no session."""
    return vocabulary.is_sessionless(message.role, message.capabilities)


def refusal(
    message: ownership.RegisterSession,
    state: lease.OwnershipState,
    role: vocabulary.Role | None,
    *,
    leaving: bool,
) -> ownership.NotAdmitted | None:
    """Return why it is not admitted; *role* is the one its id belongs to."""
    if leaving:
        return ownership.NotAdmitted(
            code="draining", message="the daemon is leaving; connect again in a moment"
        )
    inside = speaks_for_session(message.role, message.capabilities, message.proven_by)
    if is_sessionless(message) and not inside:
        return None
    known = message.session_id in state.sessions
    if not known and len(state.sessions) >= lease.SESSIONS_MAX:
        return ownership.NotAdmitted(
            code="too_many_sessions",
            message=f"{lease.SESSIONS_MAX} sessions are live already; close some first",
        )
    as_role = message.proven_by if inside else message.role
    return _role_mismatch(message, as_role, role, state.lease)


def admitted(known: KnownSession, held: lease.LeaseState) -> ownership.Admitted:
    return ownership.Admitted(
        alias=known.alias,
        lease_epoch=held.epoch,
        choices=known.choices,
        conversation=known.conversation,
    )


def alias(message: ownership.RegisterSession, state: lease.OwnershipState) -> str:
    """Choose the name people use for it, unique among the live sessions."""
    taken = (one.alias for one in state.sessions.values() if one.session_id != message.session_id)
    return lease.choose_alias(message.session_id, message.metadata, taken)


def _role_mismatch(
    message: ownership.RegisterSession,
    as_role: vocabulary.Role,
    known: vocabulary.Role | None,
    held: lease.LeaseState,
) -> ownership.NotAdmitted | None:
    """A session id belongs to the role it was first registered under.

    Else the token of a session would take the dispatcher's place, and its messages. Whoever
    proves itself with the dispatcher's own token may change the role.
    """
    # Of a journal from before roles were kept, the lease still knows the dispatcher.
    belongs_to = known or ("dispatcher" if message.session_id == held.dispatcher else None)
    if belongs_to in (None, as_role) or message.proven_by == "dispatcher":
        return None
    return ownership.NotAdmitted(
        code="role_mismatch",
        message=f"session id {message.session_id} belongs to role {belongs_to}, not"
        f" {as_role}; use another id, or prove it with the dispatcher's token",
    )


def _kept(capabilities: frozenset[str]) -> tuple[str, ...]:
    known = capabilities & vocabulary.CAPABILITIES
    others = sorted(one for one in capabilities - known if len(one) <= CAPABILITY_CHARACTERS_MAX)
    return tuple(sorted((*known, *others[:CAPABILITIES_MAX])))


def session(message: ownership.RegisterSession, alias: str, connected_at_ms: int) -> lease.Session:
    return lease.Session(
        session_id=message.session_id,
        connection_id=message.connection_id,
        role=message.role,
        alias=alias,
        pid=message.pid,
        proxy_version=message.proxy_version[:VERSION_CHARACTERS_MAX],
        metadata=message.metadata,
        capabilities=_kept(message.capabilities),
        connected_at_ms=connected_at_ms,
    )
