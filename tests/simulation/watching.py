"""What must hold at every step, and what is counted on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import httpx
import trio

from actors.messages import journal
from tests.faults.history import Delivered, Seen, Settled

UUID_CONFLICT: Final = b'"code":200770'
ASKS_FREE: Final = 4
"""Offers in vain that need no cause."""
ASKS_A_CAUSE: Final = 3
"""Offers in vain of a session for each time it came, was given a row, or all were looked at."""

Broken = Callable[[str], None]


class Watch:
    """Looks at everything that passes; *broken* is called for what must not be."""

    def __init__(self, broken: Broken) -> None:
        self._broken = broken
        self.history: list[Seen] = []
        self._attempts: dict[str, dict[str, int]] = {}
        """Of each event, the last that each session was given."""
        self._settled: set[str] = set()
        self._in_vain: Counter[str] = Counter()
        self._causes: Counter[str] = Counter()
        self._causes_of_all = 0
        self._epoch = 0
        self.faulty_at = -1_000.0
        """When something outside of the daemon last went wrong."""

    def fault(self) -> None:
        self.faulty_at = trio.current_time()
        self._causes_of_all += 1

    # ── deliveries ──────────────────────────────────────────────────────────

    def delivered(self, one: Delivered) -> None:
        self.history.append(one)
        attempts = self._attempts.setdefault(one.event, {})
        last = attempts.get(one.session, 0)  # to another session the way may be shorter
        if one.event in self._settled:
            self._broken(f"{one.event} was acked and came again with attempt {one.attempt}")
        if one.attempt <= last:
            self._broken(f"{one.event} came with attempt {one.attempt} after {last}")
        if one.attempt in attempts.values():
            self._broken(f"{one.event} came twice with attempt {one.attempt}")
        attempts[one.session] = max(one.attempt, last)
        self._causes[one.session] += 1

    def settled(self, event: str) -> None:
        """Its ack was handled while its sender still held the channel at the same epoch."""
        self.history.append(Settled(event))
        self._settled.add(event)

    # ── wakes ───────────────────────────────────────────────────────────────

    def logged(self, event: str, entry: dict[str, Any]) -> None:
        """Take what the daemon logs of what makes a session ask for a row."""
        match event:
            case "session.registered":
                self._causes[str(entry["session"])] += 1
            case "row.not_offered" | "row.offered":
                self._causes[str(entry["session"])] += 1
            case "actor.ended" | "daemon.ready" | "row.not_swept" | "lease.not_stored":
                self._causes_of_all += 1
            case _:
                pass

    def committed(self, batch: list[Any], answers: list[Any]) -> None:
        """Look at a batch of the journal, and at its answers."""
        for message, answer in zip(batch, answers, strict=True):
            if isinstance(message, journal.OfferNext) and answer == ():
                self._asked_in_vain(message.session_id)

    def _asked_in_vain(self, session: str) -> None:
        """One event wakes whom it concerns: a session asks in vain as often as it has cause."""
        self._in_vain[session] += 1
        causes = self._causes[session] + self._causes_of_all
        if self._in_vain[session] == ASKS_FREE + ASKS_A_CAUSE * causes:
            self._broken(f"{session} has asked {self._in_vain[session]} times in vain")

    # ── the platform's answers, and status ──────────────────────────────────

    def http_answered(self, path: str, status: int, content: bytes) -> None:
        if status != httpx.codes.OK and UUID_CONFLICT in content:
            self._broken(f"a uuid was used for something else: {path}")

    def status(self, status: dict[str, Any]) -> None:
        if status["lease_epoch"] < self._epoch:
            self._broken(f"the epoch went down from {self._epoch} to {status['lease_epoch']}")
        self._epoch = max(self._epoch, status["lease_epoch"])
