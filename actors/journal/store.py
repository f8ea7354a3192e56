"""The journal's file: SQLite in WAL with synchronous FULL, one commit for a batch.

All of it is synchronous and belongs to one thread at a time; the actor beside it
brings the thread. What a message means is in ``actors.messages.journal``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from actors.journal import schema
from actors.messages import journal
from protocol.delivery import CLOSED_STATES, Inbound, Offer, Prepared
from protocol.ids import (
    AccountId,
    CardId,
    ChatId,
    EventId,
    MessageId,
    RowId,
    SessionId,
    TurnId,
)
from protocol.lease import LeaseState

BUSY_TIMEOUT_S: Final = 1.0
"""Another process may read the file; nobody else writes it for long."""
_CLOSED: Final = tuple(sorted(CLOSED_STATES))
_CLOSED_SQL: Final = ", ".join(f"'{state}'" for state in _CLOSED)
_ROW: Final = "row_id, account, event_id, attempt, prepared"

log = structlog.get_logger()

_encode = msgspec.msgpack.Encoder().encode
_decode_prepared = msgspec.msgpack.Decoder(Prepared).decode


class JournalError(Exception):
    """The journal can't be opened. The text says why and what to do."""


class Store:
    """One open journal file."""

    def __init__(self, connection: sqlite3.Connection, generation: int) -> None:
        self._db = connection
        self.generation = generation
        """How often this journal was opened, this time included; from 1."""
        self._handlers: dict[type, Callable[[Any], Any]] = {
            journal.Append: self._append,
            journal.Unprepared: self._unprepared,
            journal.Prepare: self._prepare,
            journal.Close: self._close,
            journal.OfferNext: self._offer_next,
            journal.Acked: self._acked,
            journal.Release: self._release,
            journal.Queue: self._queue,
            journal.Prune: self._prune,
            journal.LoadLease: self._load_lease,
            journal.SaveLease: self._save_lease,
            journal.OpenCard: self._open_card,
            journal.NoteCard: self._note_card,
            journal.CloseCard: self._close_card,
            journal.OpenCards: self._open_cards,
        }

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open or create the journal, and count this start.

        Raises:
            JournalError: no journal, a damaged one, or one of a newer larkd; untouched.
        """
        _create_private(path)
        try:
            db = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as failed:
            raise JournalError(f"{path} can't be opened: {failed}") from failed
        try:
            _check(db, path)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            _migrate(db)
            db.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
            # Nobody is connected to a daemon that has just started.
            db.execute(
                "UPDATE inbound SET state = 'ready', connection_id = NULL WHERE state = 'offered'"
            )
            (generation,) = db.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        except sqlite3.Error as failed:
            db.close()
            raise JournalError(
                f"{path} can't be used: {failed}; move it away to start with an empty one,"
                " or restore a copy"
            ) from failed
        except BaseException:
            db.close()
            raise
        return cls(db, generation)

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    def apply(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        """Carry out a batch in one commit; return the answers in order.

        A message that fails alone is undone alone. If the commit fails, nothing of
        the batch has happened and every answer is :class:`journal.Failed`.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            answers = [self._apply_one(message) for message in batch]
            self._db.execute("COMMIT")
        except sqlite3.Error as failed:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            return [journal.Failed(reason=str(failed))] * len(batch)
        return answers

    def _apply_one(self, message: journal.JournalMessage) -> Any:
        self._db.execute("SAVEPOINT message")
        try:
            answer = self._handlers[type(message)](message)
        except sqlite3.Error as failed:
            if not self._db.in_transaction:
                raise  # disk full and the like end the transaction itself
            self._db.execute("ROLLBACK TO message")
            answer = journal.Failed(reason=str(failed))
        self._db.execute("RELEASE message")
        return answer

    def _change(self, sql: str, *values: Any) -> journal.Done:
        return journal.Done(changed=self._db.execute(sql, values).rowcount > 0)

    # ── inbound rows ────────────────────────────────────────────────────────

    def _append(self, message: journal.Append) -> journal.Appended:
        row = self._db.execute(
            "INSERT INTO inbound (account, event_id, message_key, kind, state, received_at,"
            " changed_at, payload) VALUES (?, ?, ?, ?, 'received', ?, ?, ?)"
            " ON CONFLICT DO NOTHING RETURNING row_id",
            (
                message.account,
                message.event_id,
                message.message_key,
                message.kind,
                message.received_at_ms,
                message.received_at_ms,
                message.payload,
            ),
        ).fetchone()
        if row is not None:
            return journal.Appended(row_id=RowId(row[0]), duplicate=False)
        (row_id,) = (
            self._db.execute(
                "SELECT row_id FROM inbound WHERE event_id = ?", (message.event_id,)
            ).fetchone()
            or self._db.execute(
                "SELECT row_id FROM inbound WHERE account = ? AND message_key = ?",
                (message.account, message.message_key),
            ).fetchone()
        )
        return journal.Appended(row_id=RowId(row_id), duplicate=True)

    def _unprepared(self, message: journal.Unprepared) -> tuple[Inbound, ...]:
        rows = self._db.execute(
            "SELECT row_id, account, event_id, kind, payload, received_at FROM inbound"
            " WHERE state = 'received' AND account = ? AND row_id > ? ORDER BY row_id LIMIT ?",
            (message.account, message.after_row, message.limit),
        )
        return tuple(
            Inbound(
                row_id=RowId(row_id),
                account=AccountId(account),
                event_id=EventId(event_id),
                kind=kind,
                payload=payload,
                received_at_ms=received_at,
            )
            for row_id, account, event_id, kind, payload, received_at in rows
        )

    def _prepare(self, message: journal.Prepare) -> journal.Done:
        return self._change(
            "UPDATE inbound SET state = 'ready', chat_id = ?, prepared = ?"
            " WHERE row_id = ? AND state = 'received'",
            message.prepared.chat_id,
            _encode(message.prepared),
            message.row_id,
        )

    def _close(self, message: journal.Close) -> journal.Done:
        return self._change(
            "UPDATE inbound SET state = ?, note = ?, changed_at = ?, connection_id = NULL"  # noqa: S608
            f" WHERE row_id = ? AND state NOT IN ({_CLOSED_SQL})",
            message.state,
            message.note,
            message.at_ms,
            message.row_id,
        )

    def _offer_next(self, message: journal.OfferNext) -> Offer | None:
        while True:
            row = self._oldest_for(message)
            if row is None:
                return None
            row_id, account, event_id, attempt, blob = row
            try:
                prepared = _decode_prepared(blob)
            except (msgspec.DecodeError, TypeError) as damage:
                self._set_aside(RowId(row_id), str(damage), message.at_ms)
                continue
            self._db.execute(
                "UPDATE inbound SET state = 'offered', attempt = ?, connection_id = ?,"
                " session_id = ?, lease_epoch = ?, changed_at = ? WHERE row_id = ?",
                (
                    attempt + 1,
                    message.connection_id,
                    message.session_id,
                    message.lease_epoch,
                    message.at_ms,
                    row_id,
                ),
            )
            return Offer(
                row_id=RowId(row_id),
                account=AccountId(account),
                event_id=EventId(event_id),
                attempt=attempt + 1,
                lease_epoch=message.lease_epoch,
                prepared=prepared,
            )

    def _oldest_for(self, message: journal.OfferNext) -> tuple[Any, ...] | None:
        bound = self._db.execute(
            f"SELECT {_ROW} FROM inbound WHERE state = 'ready' AND chat_id IN"  # noqa: S608
            " (SELECT chat_id FROM binding WHERE session_id = ?) ORDER BY row_id LIMIT 1",
            (message.session_id,),
        ).fetchone()
        unbound = None
        if message.hears_unbound:
            unbound = self._db.execute(
                f"SELECT {_ROW} FROM inbound WHERE state = 'ready' AND chat_id NOT IN"  # noqa: S608
                " (SELECT chat_id FROM binding) ORDER BY row_id LIMIT 1"
            ).fetchone()
        found = [row for row in (bound, unbound) if row is not None]
        return min(found, default=None)

    def _set_aside(self, row_id: RowId, damage: str, at_ms: int) -> None:
        log.error("journal.row_damaged", row=row_id, reason=damage)
        self._db.execute(
            "UPDATE inbound SET state = 'damaged', note = ?, changed_at = ? WHERE row_id = ?",
            (damage[:500], at_ms, row_id),
        )

    def _acked(self, message: journal.Acked) -> journal.Done:
        return self._change(
            "UPDATE inbound SET state = 'delivered', changed_at = ? WHERE event_id = ?"
            " AND state = 'offered' AND connection_id = ? AND attempt = ?",
            message.at_ms,
            message.event_id,
            message.connection_id,
            message.attempt,
        )

    def _release(self, message: journal.Release) -> journal.Done:
        sql = "UPDATE inbound SET state = 'ready', connection_id = NULL WHERE state = 'offered'"
        if message.connection_id is None:
            return self._change(sql)
        if message.row_ids is None:
            return self._change(f"{sql} AND connection_id = ?", message.connection_id)
        changed = [
            self._change(
                f"{sql} AND connection_id = ? AND row_id = ?", message.connection_id, row_id
            ).changed
            for row_id in message.row_ids
        ]
        return journal.Done(changed=any(changed))

    def _queue(self, _message: journal.Queue) -> journal.QueueState:
        def one(sql: str) -> Any:
            return self._db.execute(sql).fetchone()[0]

        oldest = [
            at
            for at in (
                one("SELECT min(received_at) FROM inbound WHERE state = 'received'"),
                one(
                    "SELECT received_at FROM inbound WHERE row_id ="
                    " (SELECT min(row_id) FROM inbound WHERE state = 'ready')"
                    " UNION ALL SELECT NULL LIMIT 1"
                ),
            )
            if at is not None
        ]
        return journal.QueueState(
            pending=one("SELECT count(*) FROM inbound WHERE state = 'ready'")
            + one("SELECT count(*) FROM inbound WHERE state = 'received'"),
            in_flight=one("SELECT count(*) FROM inbound WHERE state = 'offered'"),
            oldest_pending_at_ms=min(oldest, default=None),
            damaged=one("SELECT count(*) FROM inbound WHERE state = 'damaged'"),
        )

    def _prune(self, message: journal.Prune) -> journal.Done:
        rows = self._change(
            "DELETE FROM inbound WHERE row_id IN (SELECT row_id FROM inbound"  # noqa: S608
            f" WHERE state IN ({_CLOSED_SQL}) AND received_at < ? LIMIT ?)",
            message.before_ms,
            message.limit,
        )
        cards = self._change(
            "DELETE FROM card WHERE card_id IN (SELECT card_id FROM card"
            " WHERE closed_at IS NOT NULL AND closed_at < ? LIMIT ?)",
            message.before_ms,
            message.limit,
        )
        return journal.Done(changed=rows.changed or cards.changed)

    # ── lease and bindings ──────────────────────────────────────────────────

    def _load_lease(self, _message: journal.LoadLease) -> LeaseState:
        owner, dispatcher, granted, epoch = self._db.execute(
            "SELECT owner, dispatcher, granted, epoch FROM lease"
        ).fetchone()
        bindings = self._db.execute("SELECT chat_id, session_id FROM binding").fetchall()
        return LeaseState(
            owner=owner,
            dispatcher=dispatcher,
            granted=granted,
            epoch=epoch,
            bindings={ChatId(chat): SessionId(session) for chat, session in bindings},
        )

    def _save_lease(self, message: journal.SaveLease) -> journal.Done:
        lease = message.lease
        self._db.execute(
            "UPDATE lease SET owner = ?, dispatcher = ?, granted = ?, epoch = ?",
            (lease.owner, lease.dispatcher, lease.granted, lease.epoch),
        )
        self._db.execute("DELETE FROM binding")
        self._db.executemany("INSERT INTO binding VALUES (?, ?)", lease.bindings.items())
        return journal.Done()

    # ── card ledger ─────────────────────────────────────────────────────────

    def _open_card(self, message: journal.OpenCard) -> journal.Done:
        entry = message.entry
        return self._change(
            "INSERT INTO card (card_id, account, chat_id, turn_id, session_alias, message_id,"
            " text, opened_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            entry.card_id,
            entry.account,
            entry.chat_id,
            entry.turn_id,
            entry.session_alias,
            entry.message_id,
            entry.text,
            entry.opened_at_ms,
        )

    def _note_card(self, message: journal.NoteCard) -> journal.Done:
        return self._change(
            "UPDATE card SET message_id = coalesce(?, message_id), text = coalesce(?, text)"
            " WHERE card_id = ? AND closed_at IS NULL",
            message.message_id,
            message.text,
            message.card_id,
        )

    def _close_card(self, message: journal.CloseCard) -> journal.Done:
        return self._change(
            "UPDATE card SET closed_at = ?, outcome = ?, text = ''"
            " WHERE card_id = ? AND closed_at IS NULL",
            message.at_ms,
            message.outcome,
            message.card_id,
        )

    def _open_cards(self, _message: journal.OpenCards) -> tuple[journal.LedgerEntry, ...]:
        rows = self._db.execute(
            "SELECT card_id, account, chat_id, turn_id, session_alias, message_id, text,"
            " opened_at FROM card WHERE closed_at IS NULL ORDER BY opened_at"
        )
        return tuple(
            journal.LedgerEntry(
                card_id=CardId(card_id),
                account=AccountId(account),
                chat_id=ChatId(chat_id),
                turn_id=TurnId(turn_id),
                session_alias=alias,
                opened_at_ms=opened_at,
                message_id=MessageId(message_id) if message_id else None,
                text=text,
            )
            for card_id, account, chat_id, turn_id, alias, message_id, text, opened_at in rows
        )


def _create_private(path: Path) -> None:
    """Make the file readable by its user alone before SQLite opens it.

    SQLite gives its -wal and -shm files the mode of the database.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as failed:
        raise JournalError(f"{path} can't be opened: {failed.strerror}") from failed
    os.close(descriptor)


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not our journal, before anything is written."""
    try:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.DatabaseError as failed:
        raise JournalError(
            f"{path} is not a readable journal ({failed}); move it away to start with an"
            " empty one, or restore a copy"
        ) from failed
    if tables and application != schema.APPLICATION_ID:
        raise JournalError(f"{path} is a database of another program; name another state directory")
    if version > schema.VERSION:
        raise JournalError(
            f"{path} was written by a newer larkd (schema {version}; this one knows"
            f" {schema.VERSION}); start the newer larkd, or name another state directory"
        )


def _migrate(db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for number in range(version, schema.VERSION):
        db.executescript(
            f"BEGIN IMMEDIATE; {schema.MIGRATIONS[number]};"
            f" PRAGMA application_id = {schema.APPLICATION_ID};"
            f" PRAGMA user_version = {number + 1}; COMMIT;"
        )
