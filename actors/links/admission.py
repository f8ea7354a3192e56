"""Asking ownership to admit the session that a proxy registers."""

from __future__ import annotations

import os
from typing import Final

import trio

from actors.kit.mailbox import ask_or
from actors.links.capacity import ConnectionKind
from actors.links.settings import LinkSettings
from actors.messages import link, ownership
from protocol.ids import ConnectionId, SessionId
from protocol.wire import messages as wire
from protocol.wire import vocabulary
from protocol.wire.auth import Verified
from protocol.wire.inside import speaks_for_session

ASK_WITHIN_S: Final = 5.0


def place_of(register: wire.Register, verified: Verified) -> ConnectionKind:
    """Return which places its connection is one of."""
    if speaks_for_session(register.role, register.capabilities, verified.by):
        return "session"
    if not vocabulary.is_sessionless(register.role, register.capabilities):
        return "session"
    return "operator" if verified.by == "dispatcher" else "observer"


async def ask_in(
    register: wire.Register,
    verified: Verified,
    connection_id: ConnectionId,
    mailbox: trio.MemorySendChannel[link.LinkMessage],
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage],
) -> ownership.Admitted | ownership.NotAdmitted:
    """Return the answer; no answer in 5 s is a refusal after which the proxy comes again."""
    return await ask_or(
        ownership_tx,
        lambda reply: ownership.RegisterSession(
            connection_id=connection_id,
            session_id=SessionId(register.session_id),
            role=register.role,
            proven_by=verified.by,
            pid=register.pid,
            proxy_version=register.proxy_version,
            metadata=register.metadata,
            capabilities=frozenset(register.capabilities),
            link=mailbox.clone(),
            reply=reply,
        ),
        within_s=ASK_WITHIN_S,
        otherwise=lambda reason: ownership.NotAdmitted(
            code="draining", message=f"the daemon is busy or leaving ({reason}); connect again"
        ),
    )


def registered(
    register: wire.Register,
    verified: Verified,
    answer: ownership.Admitted,
    settings: LinkSettings,
) -> wire.Registered:
    return wire.Registered(
        session_id=register.session_id,
        alias=answer.alias,
        role=register.role,
        lease_epoch=answer.lease_epoch,
        daemon_version=settings.daemon_version,
        pid=os.getpid(),
        generation=settings.generation,
        proof=verified.proof,
        cluster=settings.cluster,
        node=settings.node,
        conversation=answer.conversation,
    )
