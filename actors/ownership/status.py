"""What ``feishu_channel_status`` answers: lease, sessions, queue, connections, the daemon."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import msgspec
import trio

from actors.messages import journal, ownership
from actors.ownership.journal_client import JournalClient
from protocol.ids import AccountId, SessionId
from protocol.routing import channel_tools, lease
from protocol.routing.status import bounded as bounded_status

ANSWER_EXPECTED_MS: Final = 10 * 60 * 1_000
"""A row that was delivered longer ago and not answered is shown: written is not seen."""


class OwnershipSettings(msgspec.Struct, frozen=True, kw_only=True):
    daemon_version: str
    generation: int
    started_at_ms: int
    claim: Callable[[], dict[str, Any]] = dict
    """Of a cluster: node, term, hold and standbys; empty where there is none."""


class StatusBoard:
    """What other actors last reported of themselves, and the whole of it."""

    def __init__(self, settings: OwnershipSettings, journal_client: JournalClient) -> None:
        self._settings = settings
        self._journal = journal_client
        self._connections: dict[AccountId, ownership.ConnectionState] = {}
        self._refusals: dict[AccountId, dict[str, int]] = {}
        self._unresponsive: set[SessionId] = set()

    def note(
        self, message: ownership.ConnectionState | ownership.Refusals | ownership.Unresponsive
    ) -> None:
        match message:
            case ownership.ConnectionState():
                self._connections[message.account] = message
            case ownership.Refusals():
                self._refusals[message.account] = message.by_reason
            case ownership.Unresponsive(session_id=session_id, unresponsive=True):
                self._unresponsive.add(session_id)
            case ownership.Unresponsive(session_id=session_id):
                self._unresponsive.discard(session_id)

    async def describe(self, state: lease.OwnershipState, now: int) -> dict[str, Any]:
        """Return the whole status; *now* is wall time in milliseconds."""
        overdue, queue = await self._ask(now)
        found = bounded_status(channel_tools.describe(state))
        for session in found["sessions"]:
            session["unresponsive"] = session["sessionId"] in self._unresponsive
            if not isinstance(overdue, journal.Failed):
                session["unanswered"] = overdue.get(session["sessionId"], 0)
        claim = self._settings.claim()
        standbys = {"standbys": claim.pop("standbys")} if "standbys" in claim else {}
        return (
            found
            | standbys
            | {
                "daemon": {
                    **claim,
                    "version": self._settings.daemon_version,
                    "pid": os.getpid(),
                    "generation": self._settings.generation,
                    "started_at": self._settings.started_at_ms,
                },
                "queue": _queue(queue, now),
                "connection": {
                    account: {
                        "state": one.state,
                        "last_event_at": one.last_event_at_ms,
                        "last_error": one.last_error,
                        "refused": dict(self._refusals.get(account, {})),
                    }
                    for account, one in self._connections.items()
                },
            }
        )

    async def _ask(
        self, now: int
    ) -> tuple[dict[SessionId, int] | journal.Failed, journal.QueueState | journal.Failed]:
        """Return what only the journal knows; both questions are in one of its batches."""
        overdue: dict[SessionId, int] | journal.Failed = journal.Failed(reason="not asked")
        queue: journal.QueueState | journal.Failed = journal.Failed(reason="not asked")

        async def ask_overdue() -> None:
            nonlocal overdue
            before_ms = now - ANSWER_EXPECTED_MS
            overdue = await self._journal.ask(
                lambda reply: journal.Overdue(delivered_before_ms=before_ms, reply=reply)
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_overdue)
            queue = await self._journal.ask(lambda reply: journal.Queue(reply=reply))
        return overdue, queue


def _queue(queue: journal.QueueState | journal.Failed, now: int) -> dict[str, Any]:
    if isinstance(queue, journal.Failed):
        unknown = dict.fromkeys(("pending", "in_flight", "oldest_pending_ms"))
        return {**unknown, "error": queue.reason}
    oldest = queue.oldest_pending_at_ms
    return {
        "pending": queue.pending,
        "in_flight": queue.in_flight,
        "oldest_pending_ms": None if oldest is None else max(0, now - oldest),
        "damaged": queue.damaged,
        "last_error": queue.last_error,
        "last_error_at": queue.last_error_at_ms,
    }
