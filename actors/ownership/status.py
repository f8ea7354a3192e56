"""What ``feishu_channel_status`` tells: lease, sessions, queue, connections, the daemon."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from actors.messages import journal, ownership
from actors.ownership.rows import JournalDoor
from protocol import lease
from protocol.ids import AccountId, SessionId

ANSWER_EXPECTED_MS: Final = 10 * 60 * 1_000
"""A row that was delivered longer ago and not answered is shown: written is not seen."""


class OwnershipSettings(msgspec.Struct, frozen=True, kw_only=True):
    daemon_version: str
    generation: int
    started_at_ms: int


async def describe(
    state: lease.State,
    settings: OwnershipSettings,
    connections: Mapping[AccountId, ownership.ConnectionState],
    refusals: Mapping[AccountId, Mapping[str, int]],
    door: JournalDoor,
    now: int,
) -> dict[str, Any]:
    """Return the whole status; *now* is wall time in milliseconds."""
    overdue: dict[SessionId, int] | journal.Failed = await door.ask(
        lambda reply: journal.Overdue(delivered_before_ms=now - ANSWER_EXPECTED_MS, reply=reply)
    )
    queue: journal.QueueState | journal.Failed = await door.ask(
        lambda reply: journal.Queue(reply=reply)
    )
    told = lease.describe(state)
    if not isinstance(overdue, journal.Failed):
        for session in told["sessions"]:
            session["unanswered"] = overdue.get(session["sessionId"], 0)
    return told | {
        "daemon": {
            "version": settings.daemon_version,
            "pid": os.getpid(),
            "generation": settings.generation,
            "started_at": settings.started_at_ms,
        },
        "queue": {
            "pending": None,
            "in_flight": None,
            "oldest_pending_ms": None,
            "error": queue.reason,
        }
        if isinstance(queue, journal.Failed)
        else {
            "pending": queue.pending,
            "in_flight": queue.in_flight,
            "oldest_pending_ms": None
            if queue.oldest_pending_at_ms is None
            else max(0, now - queue.oldest_pending_at_ms),
            "damaged": queue.damaged,
            "last_error": queue.last_error,
            "last_error_at": queue.last_error_at_ms,
        },
        "connection": {
            account: {
                "state": one.state,
                "last_event_at": one.last_event_at_ms,
                "last_error": one.last_error,
                "refused": dict(refusals.get(account, {})),
            }
            for account, one in connections.items()
        },
    }
