"""The journal's store: SQLite in WAL with synchronous FULL, one commit for a batch.

All of it is synchronous and belongs to one thread at a time; the actor beside it
brings the thread, and tests in virtual time call it in line.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from actors.journal import access, correspondence, ledgers, roster, rows, schema
from actors.journal.errors import JournalError, explained, result_code
from actors.journal.opening import connect, count_start, open_database
from actors.messages import journal

_PASSING: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})
"""Errors after which the connection is as good as before."""

_HANDLERS: Final[Mapping[type, Callable[[sqlite3.Connection, Any], Any]]] = {
    journal.Append: rows.append,
    journal.Unprepared: rows.unprepared,
    journal.Dispatch: rows.dispatch,
    journal.Prepare: rows.prepare,
    journal.Waiting: rows.waiting,
    journal.DropWaiting: rows.drop_waiting,
    journal.DropMessage: rows.drop_message,
    journal.Close: rows.close,
    journal.OfferNext: rows.offer_next,
    journal.Acked: rows.acked,
    journal.Release: rows.release,
    journal.Queue: rows.queue,
    journal.Prune: rows.prune,
    journal.LoadLease: ledgers.load_lease,
    journal.SaveLease: ledgers.save_lease,
    journal.LoadRoster: roster.load_roster,
    journal.SaveSession: roster.save_session,
    journal.ForgetSession: roster.forget_session,
    journal.SaveUnread: roster.save_unread,
    journal.OpenCard: ledgers.open_card,
    journal.NoteCard: ledgers.note_card,
    journal.CloseCard: ledgers.close_card,
    journal.OpenCards: ledgers.open_cards,
    journal.WhoseCard: ledgers.whose_card,
    journal.Correspondent: correspondence.correspondent,
    journal.NoteSent: correspondence.note_sent,
    journal.WhereIs: correspondence.where_is,
    journal.Unanswered: correspondence.unanswered,
    journal.Overdue: correspondence.overdue,
    journal.EnterApproval: ledgers.enter_approval,
    journal.ForgetApproval: ledgers.forget_approval,
    journal.ApprovalsLeft: ledgers.approvals_left,
    journal.CountCalls: access.count_calls,
    journal.LoadAccess: access.load_access,
    journal.SaveAccess: access.save_access,
}

log = structlog.get_logger()


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the store did since it was opened."""

    messages: int
    batches: int
    batch_messages_max: int
    commits: int
    failed: int
    """Messages answered with a failure."""
    reopened: int
    last_error: str | None


class Store:
    """One open journal."""

    def __init__(self, path: Path | None, db: sqlite3.Connection, generation: int) -> None:
        self._path = path
        self._db = db
        self.generation = generation
        """How often this journal was opened, this time included; from 1."""
        self._sound = True
        """Whether the connection can be used; else the next batch opens another one."""
        self._messages = self._batches = self._batch_messages_max = 0
        self._commits = self._failed = self._reopened = 0
        self._last_error: str | None = None
        self._last_error_at_ms: int | None = None

    @classmethod
    def open(cls, path: Path | None, *, migrations: Sequence[str] = schema.MIGRATIONS) -> Store:
        """Open or create the journal, in memory when *path* is None, and count this start.

        Raises:
            JournalError: it can't be used; a foreign or a newer one was left untouched.
        """
        db = open_database(path, migrations=migrations)
        try:
            return cls(path, db, count_start(db))
        except sqlite3.Error as failed:
            db.close()
            raise explained(path, failed) from failed

    def close(self) -> None:
        """Close the file. What was answered is safe whether or not this succeeds."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    def statistics(self) -> Statistics:
        return Statistics(
            messages=self._messages,
            batches=self._batches,
            batch_messages_max=self._batch_messages_max,
            commits=self._commits,
            failed=self._failed,
            reopened=self._reopened,
            last_error=self._last_error,
        )

    def apply(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        """Carry out a batch in one commit; return the answers in order.

        A message that fails is undone alone and answered with :class:`journal.Failed`.
        If the commit fails, nothing of the batch has happened and all are.
        """
        self._messages += len(batch)
        self._batches += 1
        self._batch_messages_max = max(self._batch_messages_max, len(batch))
        try:
            self._reopen_if_broken()
            answers = self._together(batch)
        except _RolledBack:
            answers = self._one_by_one(batch)
        except (sqlite3.Error, JournalError) as failed:
            answers = [self._lost(failed)] * len(batch)
        self._failed += sum(isinstance(answer, journal.Failed) for answer in answers)
        return [
            self._with_last_error(answer) if isinstance(answer, journal.QueueState) else answer
            for answer in answers
        ]

    def _with_last_error(self, queue: journal.QueueState) -> journal.QueueState:
        return msgspec.structs.replace(
            queue, last_error=self._last_error, last_error_at_ms=self._last_error_at_ms
        )

    def _together(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            answers = [self._one(message) for message in batch]
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        self._commits += 1
        return answers

    def _one(self, message: journal.JournalMessage) -> Any:
        """Carry out one message; its failure undoes nothing but itself."""
        self._db.execute("SAVEPOINT message")
        try:
            answer = _HANDLERS[type(message)](self._db, message)
        except Exception as failed:  # one message's fault is not the others'
            if not self._db.in_transaction:
                raise _RolledBack from failed
            self._db.execute("ROLLBACK TO message")
            answer = self._failure(failed, message=type(message).__name__)
        self._db.execute("RELEASE message")
        return answer

    def _one_by_one(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        """Do a batch again, each message alone, since one of them ended the transaction.

        SQLite does so when the disk is full: what needs no space, such as an ack, can
        still be done. If the file itself fails, the rest is not tried.
        """
        answers: list[Any] = []
        for message in batch:
            try:
                answers += self._together([message])
            except _RolledBack as rolled_back:
                answers.append(self._lost(rolled_back.__cause__))
            except sqlite3.Error as failed:
                answers.append(self._lost(failed))
            if not self._sound:
                answers += [answers[-1]] * (len(batch) - len(answers))
                break
        return answers

    def _lost(self, failed: BaseException | None) -> journal.Failed:
        """Note why a transaction did not come about, and whether the connection is at fault."""
        if not (isinstance(failed, sqlite3.Error) and result_code(failed) in _PASSING):
            self._sound = self._path is None  # in memory there is nothing to go back to
        return self._failure(failed)

    def _failure(self, failed: BaseException | None, **ids: str) -> journal.Failed:
        self._last_error = str(failed) or type(failed).__name__
        self._last_error_at_ms = time.time_ns() // 1_000_000
        log.error("journal.not_committed", reason=self._last_error, **ids)
        return journal.Failed(reason=self._last_error)

    def _reopen_if_broken(self) -> None:
        if self._sound:
            return
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._db = connect(self._path)
        self._sound = True
        self._reopened += 1
        log.warning("journal.reopened", after=self._last_error)


class _RolledBack(Exception):
    """SQLite ended the transaction because of one statement; its cause is the reason."""
