"""The journal's store on SQLite: WAL with synchronous FULL, one commit for a batch.

All of it is synchronous and belongs to one thread at a time; the actor beside it
brings the thread, and tests in virtual time call it in line.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from actors.journal import schema
from actors.journal.db import ResultRows, SqlValue, read
from actors.journal.errors import JournalError
from actors.journal.handlers import HANDLERS
from actors.journal.sqlite.errors import explained, result_code
from actors.journal.sqlite.opening import connect, count_start, open_database
from actors.journal.store import JournalStatistics, Tally
from actors.messages import journal

_PASSING: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})
"""Errors after which the connection is as good as before."""

log = structlog.get_logger()


class SqliteDb:
    """A connection, for the handlers; a statement has run when ``execute`` returns."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, *values: SqlValue) -> ResultRows:
        return ResultRows(self._connection.execute(sql, values))


class SqliteStore:
    """One open journal in a file or in memory."""

    beat_every_s: float | None = None

    def __init__(self, path: Path | None, db: sqlite3.Connection, generation: int) -> None:
        self._path = path
        self._db = db
        self.generation = generation
        """How often this journal was opened, this time included; from 1."""
        self._sound = True
        """Whether the connection can be used; else the next batch opens another one."""
        self._tally = Tally()

    @classmethod
    def open(
        cls, path: Path | None, *, migrations: Sequence[str] = schema.MIGRATIONS
    ) -> SqliteStore:
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

    @property
    def connection(self) -> sqlite3.Connection:
        """The open file, for what reads all of it."""
        return self._db

    def close(self) -> None:
        """Close the file. What was answered is safe whether or not this succeeds."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    def statistics(self) -> JournalStatistics:
        return self._tally.statistics()

    def apply(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        """Carry out a batch in one commit; return the answers in order.

        A message that fails is undone alone and answered with :class:`journal.Failed`.
        If the commit fails, nothing of the batch has happened and all are.
        """
        self._tally.begin(batch)
        try:
            self._reopen_if_broken()
            answers = self._together(batch)
        except _RolledBack:
            answers = self._one_by_one(batch)
        except (sqlite3.Error, JournalError) as failed:
            answers = [self._lost(failed)] * len(batch)
        return self._tally.finish(answers)

    def _together(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        """Carry out a batch; where a message fails, once more with a savepoint for each."""
        with contextlib.suppress(_HandlerFailed):
            return self._in_one_commit(batch, self._carry_out)
        return self._in_one_commit(batch, self._one)

    def _in_one_commit(
        self,
        batch: Sequence[journal.JournalMessage],
        carry_out: Callable[[journal.JournalMessage], Any],
    ) -> list[Any]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            answers = [carry_out(message) for message in batch]
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        self._tally.commits += 1
        return answers

    def _carry_out(self, message: journal.JournalMessage) -> Any:
        try:
            return read(HANDLERS[type(message)](SqliteDb(self._db), message))
        except Exception as failed:
            raise (_HandlerFailed if self._db.in_transaction else _RolledBack) from failed

    def _one(self, message: journal.JournalMessage) -> Any:
        """Carry out one message; its failure undoes nothing but itself."""
        self._db.execute("SAVEPOINT message")
        try:
            answer = read(HANDLERS[type(message)](SqliteDb(self._db), message))
        except Exception as failed:  # one message's fault is not the others'
            if not self._db.in_transaction:
                raise _RolledBack from failed
            self._db.execute("ROLLBACK TO message")
            answer = self._tally.failure(failed, message=type(message).__name__)
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
        return self._tally.failure(failed)

    def _reopen_if_broken(self) -> None:
        if self._sound:
            return
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._db = connect(self._path)
        self._sound = True
        self._tally.reopened += 1
        log.warning("journal.reopened", after=self._tally.last_error)


class _HandlerFailed(Exception):
    """One message failed, and all of its batch is undone."""


class _RolledBack(Exception):
    """SQLite ended the transaction because of one statement; its cause is the reason."""
