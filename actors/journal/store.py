"""What both stores of the journal can do, and what they count while they do it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog

from actors.messages import journal

LOG_AGAIN_S: Final = 1.0

log = structlog.get_logger()


class JournalStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the store did since it was opened."""

    messages: int
    batches: int
    batch_messages_max: int
    commits: int
    failed: int
    """Messages answered with a failure."""
    reopened: int
    last_error: str | None


class Store(Protocol):
    """One open journal. All of it is synchronous and belongs to one thread at a time."""

    @property
    def generation(self) -> int:
        """How often this journal was opened to be written, this time included; from 1."""

    @property
    def beat_every_s(self) -> float | None:
        """After how long without messages an empty batch is due; None: never."""

    def apply(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        """Carry out a batch in one commit; return the answers in order.

        A message that fails is undone alone and answered with :class:`journal.Failed`.
        If the commit fails, nothing of the batch has happened and all are.
        """

    def statistics(self) -> JournalStatistics:
        """Return what was done so far. May be called from another thread."""

    def close(self) -> None:
        """Close it. What was answered is safe whether or not this succeeds."""


OpenStore = Callable[[], Store]
"""Opens a store, in the thread it will belong to.

Raises:
    JournalError: it can't be used; its text names the remedy.
"""


class Tally:
    """The counters of a store, and its last error."""

    def __init__(self) -> None:
        self.messages = self.batches = self.batch_messages_max = 0
        self.commits = self.failed = self.reopened = 0
        self.last_error: str | None = None
        self._last_error_at_ms: int | None = None
        self._logged: tuple[str, dict[str, str]] | None = None
        self._logged_at = 0.0
        self._unlogged = 0

    def begin(self, batch: Sequence[journal.JournalMessage]) -> None:
        self.messages += len(batch)
        self.batches += 1
        self.batch_messages_max = max(self.batch_messages_max, len(batch))

    def finish(self, answers: Sequence[Any]) -> list[Any]:
        """Count the failures; complete answers about the queue with the last error."""
        self.failed += sum(isinstance(answer, journal.Failed) for answer in answers)
        return [
            msgspec.structs.replace(
                answer, last_error=self.last_error, last_error_at_ms=self._last_error_at_ms
            )
            if isinstance(answer, journal.QueueState)
            else answer
            for answer in answers
        ]

    def failure(self, failed: BaseException | None, **ids: str) -> journal.Failed:
        """Note why something was not committed; return the answer for it.

        A reason that holds on is logged once a second: each batch meets it, while a database
        is away.
        """
        reason = str(failed).strip() or type(failed).__name__
        now = time.monotonic()
        if (reason, ids) != self._logged or now - self._logged_at >= LOG_AGAIN_S:
            unlogged = {"unlogged": self._unlogged} if self._unlogged else {}
            log.error("journal.not_committed", reason=reason, **ids, **unlogged)
            self._logged, self._logged_at, self._unlogged = (reason, ids), now, 0
        else:
            self._unlogged += 1
        self.last_error = reason
        self._last_error_at_ms = time.time_ns() // 1_000_000
        return journal.Failed(reason=reason)

    def statistics(self) -> JournalStatistics:
        return JournalStatistics(
            messages=self.messages,
            batches=self.batches,
            batch_messages_max=self.batch_messages_max,
            commits=self.commits,
            failed=self.failed,
            reopened=self.reopened,
            last_error=self.last_error,
        )
