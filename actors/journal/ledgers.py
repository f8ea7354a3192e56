"""The lease with its bindings, and the ledgers of cards and approvals.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import structlog

from actors.journal.db import Db, Later, ResultRows, Row, change, the_one
from actors.journal.roster import store_session
from actors.journal.states import OPEN
from actors.messages import journal
from protocol.ids import (
    AccountId,
    CardId,
    ChatId,
    MessageId,
    PlaceKey,
    SessionId,
    TurnId,
    split_place,
)
from protocol.routing.lease import LeaseState
from protocol.routing.targets import bound

log = structlog.get_logger()

_DAMAGE = (msgspec.MsgspecError, UnicodeError, TypeError)

_encode_opening = msgspec.msgpack.Encoder().encode
_decode_opening = msgspec.msgpack.Decoder(journal.ApprovalOpening).decode


# ── lease and bindings ──────────────────────────────────────────────────────


def load_lease(db: Db, _message: journal.LoadLease) -> Later[LeaseState]:
    lease = db.execute("SELECT owner, dispatcher, granted, epoch FROM lease")
    bindings = _ask_bindings(db)

    def loaded() -> LeaseState:
        owner, dispatcher, granted, epoch = the_one(lease)
        return LeaseState(
            owner=owner,
            dispatcher=dispatcher,
            granted=granted,
            epoch=epoch,
            bindings=_bindings(bindings),
        )

    return Later(loaded)


def save_lease(db: Db, message: journal.SaveLease) -> Later[journal.Done]:
    """Replace the lease, and let the open rows of moved chats follow."""
    lease = message.lease
    replaced = [
        db.execute(
            "UPDATE lease SET owner = ?1, dispatcher = ?2, granted = ?3, epoch = ?4"
            " WHERE owner IS DISTINCT FROM ?1 OR dispatcher IS DISTINCT FROM ?2"
            " OR granted IS DISTINCT FROM ?3 OR epoch IS DISTINCT FROM ?4",
            lease.owner,
            lease.dispatcher,
            lease.granted,
            lease.epoch,
        )
    ]
    stored = _bindings(_ask_bindings(db))
    for place in stored.keys() | lease.bindings.keys():
        session = lease.bindings.get(place)
        if session != stored.get(place):
            replaced.append(_bind(db, place, session))
    for place in message.moved.places:
        _move(db, place, bound(lease.bindings, place), message.moved.staying)
    if message.session is not None:
        store_session(db, message.session)
    return Later(lambda: journal.Done(changed=any(rows.count() for rows in replaced)))


def _move(
    db: Db, place: PlaceKey, to: SessionId | None, staying: frozenset[SessionId | None]
) -> None:
    """Dispatch the open rows of a place anew, but those of sessions that keep theirs."""
    account, chat, topic = split_place(place)
    # A topic without a binding of its own follows its chat.
    which = (
        "(topic IS NULL OR NOT EXISTS (SELECT 1 FROM binding"
        " WHERE binding.chat_id = CAST(?3 AS TEXT) || '#' || inbound.topic))"
    )
    open_rows = f"WHERE chat_id = ?1 AND account = ?2 AND {OPEN} AND " + (
        which if topic is None else "topic = ?3"
    )
    there = (chat, account, topic or place)
    dispatched = db.execute(f"SELECT DISTINCT routed_to FROM inbound {open_rows}", *there).all()  # noqa: S608 -- our own constants
    for (routed_to,) in dispatched:
        if (routed_to or None) not in staying:
            db.execute(
                f"UPDATE inbound SET routed_to = ?4 {open_rows}"  # noqa: S608 -- likewise
                " AND routed_to IS NOT DISTINCT FROM CAST(?5 AS TEXT)",
                *there,
                to or "",
                routed_to,
            )


def _ask_bindings(db: Db) -> ResultRows:
    return db.execute("SELECT chat_id, session_id FROM binding")


def _bindings(rows: ResultRows) -> dict[PlaceKey, SessionId]:
    return {PlaceKey(chat): SessionId(session) for chat, session in rows.all()}


def _bind(db: Db, chat: PlaceKey, session: SessionId | None) -> ResultRows:
    if session is None:
        return db.execute("DELETE FROM binding WHERE chat_id = ?1", chat)
    return db.execute(
        "INSERT INTO binding (chat_id, session_id) VALUES (?1, ?2)"
        " ON CONFLICT (chat_id) DO UPDATE SET session_id = ?2",
        chat,
        session,
    )


# ── card ledger ─────────────────────────────────────────────────────────────


def open_card(db: Db, message: journal.OpenCard) -> Later[journal.Done]:
    entry = message.entry
    return change(
        db,
        "INSERT INTO card (card_id, account, chat_id, turn_id, session_id, session_alias,"
        " message_id, term, text, panels, opened_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        " ON CONFLICT DO NOTHING",
        entry.card_id,
        entry.account,
        entry.chat_id,
        entry.turn_id,
        entry.session_id,
        entry.session_alias,
        entry.message_id,
        entry.term,
        entry.text.encode(),
        entry.panels,
        entry.opened_at_ms,
    )


def note_card(db: Db, message: journal.NoteCard) -> Later[journal.Done]:
    for card_id in message.instead_of:
        db.execute(
            "UPDATE card SET closed_at = ?1, outcome = 'complete', text = '', panels = NULL"
            " WHERE card_id = ?2 AND closed_at IS NULL"
            " AND EXISTS (SELECT 1 FROM card WHERE card_id = ?3 AND closed_at IS NULL)",
            message.at_ms,
            card_id,
            message.card_id,
        )
    return change(
        db,
        "UPDATE card SET message_id = coalesce(?1, message_id), text = coalesce(?2, text),"
        " panels = coalesce(?3, panels) WHERE card_id = ?4 AND closed_at IS NULL",
        message.message_id,
        None if message.text is None else message.text.encode(),
        message.panels,
        message.card_id,
    )


def close_card(db: Db, message: journal.CloseCard) -> Later[journal.Done]:
    """Close the card's entry. Its content was for a repair that is not needed any more."""
    for card_id in message.instead_of:
        _close(db, card_id, "complete", message.at_ms)
    return _close(db, message.card_id, message.outcome, message.at_ms)


def _close(
    db: Db, card_id: CardId, outcome: journal.CardOutcome, at_ms: int
) -> Later[journal.Done]:
    return change(
        db,
        "UPDATE card SET closed_at = ?1, outcome = ?2, text = '', panels = NULL"
        " WHERE card_id = ?3 AND closed_at IS NULL",
        at_ms,
        outcome,
        card_id,
    )


def open_cards(db: Db, _message: journal.OpenCards) -> Later[tuple[journal.LedgerEntry, ...]]:
    """Return the open cards, oldest first; a damaged entry is closed as lost."""
    rows = db.execute(
        "SELECT card_id, account, chat_id, turn_id, session_id, session_alias, message_id,"
        " term, text, panels, opened_at FROM card WHERE closed_at IS NULL ORDER BY opened_at"
    )
    return Later(lambda: _open_cards(db, rows.all()))


def _open_cards(db: Db, rows: Sequence[Row]) -> tuple[journal.LedgerEntry, ...]:
    entries: list[journal.LedgerEntry] = []
    for row in rows:
        try:
            entries.append(_entry(row))
        except (UnicodeError, AttributeError) as damage:
            log.error("journal.card_damaged", card=ascii(row[0]), reason=str(damage))  # noqa: TRY400 -- no traceback: its frames hold message text
            db.execute(
                "UPDATE card SET closed_at = opened_at, outcome = 'lost' WHERE card_id = ?1",
                row[0],
            )
    return tuple(entries)


def _entry(row: Row) -> journal.LedgerEntry:
    card_id, account, chat_id, turn_id, session_id, alias, message_id = row[:7]
    term, text, panels, opened_at = row[7:]
    for value in (card_id, account, chat_id, turn_id, session_id, alias, message_id or ""):
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
        term=term,
        text=text.decode(),
        panels=bytes(panels or b""),
    )


def whose_card(db: Db, message: journal.WhoseCard) -> Later[journal.CardTurn | None]:
    rows = db.execute(
        "SELECT session_id, turn_id FROM card WHERE message_id = ?1", message.message_id
    )

    def whose() -> journal.CardTurn | None:
        row = rows.one()
        if row is None:
            return None
        return journal.CardTurn(session_id=SessionId(row[0]), turn_id=TurnId(row[1]))

    return Later(whose)


# ── approvals ───────────────────────────────────────────────────────────────


def enter_approval(db: Db, message: journal.EnterApproval) -> Later[journal.Done]:
    return store_approval(db, message.entry)


def store_approval(db: Db, entry: journal.ApprovalLeft) -> Later[journal.Done]:
    return change(
        db,
        "INSERT INTO approval (entry_id, account, message_id, opening, last_card)"
        " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (entry_id)"
        " DO UPDATE SET account = ?2, message_id = ?3, opening = ?4, last_card = ?5",
        entry.entry_id,
        entry.account,
        entry.message_id,
        None if entry.opening is None else _encode_opening(entry.opening),
        entry.last_card,
    )


def forget_approval(db: Db, message: journal.ForgetApproval) -> Later[journal.Done]:
    return change(db, "DELETE FROM approval WHERE entry_id = ?1", message.entry_id)


def approvals_left(
    db: Db, _message: journal.ApprovalsLeft
) -> Later[tuple[journal.ApprovalLeft, ...]]:
    """Return what is there; an entry that can't be read any more is dropped, and logged."""
    rows = db.execute("SELECT entry_id, account, message_id, opening, last_card FROM approval")
    return Later(lambda: _approvals_left(db, rows.all()))


def _approvals_left(db: Db, rows: Sequence[Row]) -> tuple[journal.ApprovalLeft, ...]:
    left: list[journal.ApprovalLeft] = []
    for row in rows:
        try:
            left.append(_approval(row))
        except _DAMAGE as damage:
            log.error("journal.approval_damaged", entry=ascii(row[0]), reason=str(damage)[:500])  # noqa: TRY400 -- no traceback: its frames hold text of people
            db.execute("DELETE FROM approval WHERE entry_id = ?1", row[0])
    return tuple(left)


def _approval(row: Row) -> journal.ApprovalLeft:
    entry_id, account, message_id, opening, last_card = row
    return journal.ApprovalLeft(
        entry_id=entry_id,
        account=AccountId(account),
        message_id=None if message_id is None else MessageId(message_id),
        opening=None if opening is None else _decode_opening(bytes(opening)),
        last_card=last_card,
    )


# ── Typing marks ────────────────────────────────────────────────────────────


def enter_typing(db: Db, message: journal.EnterTyping) -> Later[journal.Done]:
    entry = message.entry
    return change(
        db,
        "INSERT INTO typing (message_id, turn_id, account, reaction_id, term)"
        " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (message_id, turn_id)"
        " DO UPDATE SET account = ?3, reaction_id = ?4, term = ?5",
        entry.message_id,
        entry.turn_id,
        entry.account,
        entry.reaction_id,
        entry.term,
    )


def forget_typing(db: Db, message: journal.ForgetTyping) -> Later[journal.Done]:
    return change(
        db,
        "DELETE FROM typing WHERE message_id = ?1 AND turn_id = ?2",
        message.message_id,
        message.turn_id,
    )


def typing_left(db: Db, message: journal.TypingLeft) -> Later[tuple[journal.TypingEntry, ...]]:
    rows = db.execute(
        "SELECT message_id, turn_id, account, reaction_id, term FROM typing WHERE term <> ?1",
        message.term,
    )
    return Later(
        lambda: tuple(
            journal.TypingEntry(
                message_id=MessageId(message_id),
                turn_id=TurnId(turn_id),
                account=AccountId(account),
                reaction_id=reaction_id,
                term=term,
            )
            for message_id, turn_id, account, reaction_id, term in rows.all()
        )
    )
