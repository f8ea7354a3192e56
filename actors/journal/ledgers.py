"""The lease with its bindings, and the ledgers of cards and approvals.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import structlog

from actors.messages import journal
from protocol.ids import AccountId, CardId, ChatId, MessageId, SessionId, TurnId
from protocol.routing.lease import LeaseState

log = structlog.get_logger()


# ── lease and bindings ──────────────────────────────────────────────────────


def load_lease(db: sqlite3.Connection, _message: journal.LoadLease) -> LeaseState:
    owner, dispatcher, granted, epoch = db.execute(
        "SELECT owner, dispatcher, granted, epoch FROM lease"
    ).fetchone()
    return LeaseState(
        owner=owner,
        dispatcher=dispatcher,
        granted=granted,
        epoch=epoch,
        bindings=_bindings(db),
    )


def save_lease(db: sqlite3.Connection, message: journal.SaveLease) -> journal.Done:
    """Replace the lease, and let the open rows of moved chats follow."""
    lease = message.lease
    values = (lease.owner, lease.dispatcher, lease.granted, lease.epoch)
    changed = db.execute(
        "UPDATE lease SET owner = ?1, dispatcher = ?2, granted = ?3, epoch = ?4"
        " WHERE (owner, dispatcher, granted, epoch) IS NOT (?1, ?2, ?3, ?4)",
        values,
    ).rowcount
    stored = _bindings(db)
    for chat in stored.keys() | lease.bindings.keys():
        session = lease.bindings.get(chat)
        if session != stored.get(chat):
            _bind(db, chat, session)
            changed += 1
    for chat in message.moved:
        db.execute(
            "UPDATE inbound SET heard_by = ? WHERE chat_id = ?"
            " AND state IN ('received', 'ready', 'offered')",
            (lease.bindings.get(chat, ""), chat),
        )
    return journal.Done(changed=changed > 0)


def _bindings(db: sqlite3.Connection) -> dict[ChatId, SessionId]:
    rows = db.execute("SELECT chat_id, session_id FROM binding")
    return {ChatId(chat): SessionId(session) for chat, session in rows}


def _bind(db: sqlite3.Connection, chat: ChatId, session: SessionId | None) -> None:
    if session is None:
        db.execute("DELETE FROM binding WHERE chat_id = ?", (chat,))
    else:
        db.execute("INSERT OR REPLACE INTO binding VALUES (?, ?)", (chat, session))


# ── card ledger ─────────────────────────────────────────────────────────────


def open_card(db: sqlite3.Connection, message: journal.OpenCard) -> journal.Done:
    entry = message.entry
    return _change(
        db,
        "INSERT INTO card (card_id, account, chat_id, turn_id, session_id, session_alias,"
        " message_id, text, opened_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        entry.card_id,
        entry.account,
        entry.chat_id,
        entry.turn_id,
        entry.session_id,
        entry.session_alias,
        entry.message_id,
        entry.text,
        entry.opened_at_ms,
    )


def note_card(db: sqlite3.Connection, message: journal.NoteCard) -> journal.Done:
    return _change(
        db,
        "UPDATE card SET message_id = coalesce(?, message_id), text = coalesce(?, text)"
        " WHERE card_id = ? AND closed_at IS NULL",
        message.message_id,
        message.text,
        message.card_id,
    )


def close_card(db: sqlite3.Connection, message: journal.CloseCard) -> journal.Done:
    """Close the card's entry. Its text was for a repair that is not needed any more."""
    return _change(
        db,
        "UPDATE card SET closed_at = ?, outcome = ?, text = ''"
        " WHERE card_id = ? AND closed_at IS NULL",
        message.at_ms,
        message.outcome,
        message.card_id,
    )


def open_cards(
    db: sqlite3.Connection, _message: journal.OpenCards
) -> tuple[journal.LedgerEntry, ...]:
    """Return the open cards, oldest first; a damaged entry is closed as lost."""
    rows = db.execute(
        "SELECT card_id, account, chat_id, turn_id, session_id, session_alias, message_id,"
        " text, opened_at, rowid FROM card WHERE closed_at IS NULL ORDER BY opened_at"
    ).fetchall()
    entries: list[journal.LedgerEntry] = []
    for *row, number in rows:
        try:
            entries.append(_entry(row))
        except UnicodeError as damage:
            log.error("journal.card_damaged", entry=number, reason=str(damage))  # noqa: TRY400 -- no traceback: its frames hold message text
            db.execute(
                "UPDATE card SET closed_at = opened_at, outcome = 'lost' WHERE rowid = ?",
                (number,),
            )
    return tuple(entries)


def _entry(row: list[Any]) -> journal.LedgerEntry:
    card_id, account, chat_id, turn_id, session_id, alias, message_id, text, opened_at = row
    for value in (card_id, account, chat_id, turn_id, session_id, alias, message_id or "", text):
        value.encode()  # raises for text that was no UTF-8
    return journal.LedgerEntry(
        card_id=CardId(card_id),
        account=AccountId(account),
        chat_id=ChatId(chat_id),
        turn_id=TurnId(turn_id),
        session_id=SessionId(session_id),
        session_alias=alias,
        opened_at_ms=opened_at,
        message_id=None if message_id is None else MessageId(message_id),
        text=text,
    )


def whose_card(db: sqlite3.Connection, message: journal.WhoseCard) -> journal.CardTurn | None:
    row = db.execute(
        "SELECT session_id, turn_id FROM card WHERE message_id = ?", (message.message_id,)
    ).fetchone()
    if row is None:
        return None
    return journal.CardTurn(session_id=SessionId(row[0]), turn_id=TurnId(row[1]))


# ── approvals ───────────────────────────────────────────────────────────────


def enter_approval(db: sqlite3.Connection, message: journal.EnterApproval) -> journal.Done:
    entry = message.entry
    return _change(
        db,
        "INSERT OR REPLACE INTO approval VALUES (?, ?, ?)",
        entry.message_id,
        entry.account,
        entry.last_card,
    )


def forget_approval(db: sqlite3.Connection, message: journal.ForgetApproval) -> journal.Done:
    return _change(db, "DELETE FROM approval WHERE message_id = ?", message.message_id)


def approvals_left(
    db: sqlite3.Connection, _message: journal.ApprovalsLeft
) -> tuple[journal.ApprovalLeft, ...]:
    return tuple(
        journal.ApprovalLeft(
            message_id=MessageId(message_id), account=AccountId(account), last_card=last_card
        )
        for message_id, account, last_card in db.execute("SELECT * FROM approval")
    )


def _change(db: sqlite3.Connection, sql: str, *values: Any) -> journal.Done:
    return journal.Done(changed=db.execute(sql, values).rowcount > 0)
