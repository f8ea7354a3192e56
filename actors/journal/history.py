"""What became of a message, from its row, and what is before it where it still waits."""

from __future__ import annotations

from typing import Final

from actors.journal.db import Db, Row, the_one
from actors.journal.joined import PROMPT, PROMPTS
from actors.messages import journal
from protocol.ids import AccountId, ChatId, EventId, MessageId, RowId, SessionId
from protocol.routing.delivery import RowState
from protocol.routing.history import MessageHistory

_ROW: Final = (
    "SELECT row_id, message_key, state, note, received_at, offered_at, seen_at,"  # noqa: S608 -- our own constants
    f" changed_at, attempt, session_id, routed_to, {PROMPT} FROM inbound"
)
_EVENT: Final = "SELECT row_id, account, event_id, kind, chat_id FROM inbound"
_COUNTED_MAX: Final = 1_000
"""Of what is before a row no more are counted: a session that is away may have many."""


def find_history(db: Db, message: journal.FindHistory) -> MessageHistory | None:
    if message.message_id is not None:
        return _history(
            db,
            # Not of another chat, whatever its people quote.
            "account = ?1 AND message_key = ?2 AND coalesce(chat_id, ?3) = ?3",
            message.account,
            message.message_id,
            message.chat_id,
        )
    if message.topic is not None:
        return _history(
            db,
            "account = ?1 AND topic = ?2 ORDER BY row_id DESC LIMIT 1",
            message.account,
            message.topic,
        )
    return _history(
        db,
        "account = ?1 AND chat_id = ?2 AND topic IS NULL ORDER BY row_id DESC LIMIT 1",
        message.account,
        message.chat_id,
    )


def topic_had(db: Db, message: journal.TopicHad) -> bool:
    found = db.execute(
        "SELECT 1 FROM inbound WHERE account = ?1 AND topic = ?2 AND row_id < ?3 LIMIT 1",
        message.account,
        message.topic,
        message.before_row,
    )
    return found.one() is not None


def explain(db: Db, message: journal.Explain) -> journal.Explained | None:
    return explained(db, message.message)


def explained(db: Db, message: str) -> journal.Explained | None:
    """Return what became of a message_id or an event_id, whatever account it is of."""
    row = db.execute(
        f"{_EVENT} WHERE message_key = ?1 OR event_id = ?1 ORDER BY row_id LIMIT 1", message
    ).one()
    return None if row is None else _explained(db, row)


def newest(db: Db, limit: int) -> tuple[journal.Explained, ...]:
    """Return what became of the *limit* newest messages, oldest first."""
    rows = db.execute(
        f"{_EVENT} WHERE message_key IS NOT NULL ORDER BY row_id DESC LIMIT ?1", limit
    ).all()
    found = [_explained(db, row) for row in reversed(rows)]
    return tuple(one for one in found if one is not None)


def _explained(db: Db, row: Row) -> journal.Explained | None:
    """Explain a row of :data:`_EVENT`; None: it is gone by now."""
    history = _history(db, "row_id = ?1", row[0])
    if history is None:
        return None
    return journal.Explained(
        account=AccountId(row[1]),
        event_id=EventId(row[2]),
        kind=row[3],
        chat_id=None if row[4] is None else ChatId(row[4]),
        history=history,
    )


def _history(db: Db, where: str, *values: str | int) -> MessageHistory | None:
    found = db.execute(f"{_ROW} WHERE {where}", *values).one()
    if found is None:
        return None
    state, routed_to = RowState(found[2]), found[10]
    ahead = under_way = 0
    for_session = found[9]
    if state is RowState.READY:
        for_session = routed_to or _owner(db)
        ahead = _count(
            db,
            f"{PROMPTS} WHERE state = 'ready' AND routed_to = ?1 AND row_id < ?2"
            f" AND {PROMPT} <> ?3",
            routed_to,
            found[0],
            found[11],
        )
        under_way = _count(
            db,
            f"{PROMPTS} WHERE state IN ('offered', 'delivered') AND session_id = ?1",
            for_session or "",
        )
    return MessageHistory(
        row_id=RowId(found[0]),
        message_id=None if found[1] is None else MessageId(found[1]),
        state=state,
        note=found[3],
        received_at_ms=found[4],
        offered_at_ms=found[5],
        seen_at_ms=found[6],
        changed_at_ms=found[7],
        attempt=found[8],
        session_id=None if for_session is None else SessionId(for_session),
        alias=_alias(db, for_session),
        ahead=ahead,
        under_way=under_way,
    )


def _count(db: Db, sql: str, *values: str | int) -> int:
    counted = db.execute(f"SELECT count(*) FROM ({sql} LIMIT {_COUNTED_MAX}) AS counted", *values)  # noqa: S608 -- our own constants
    return int(the_one(counted)[0])


def _owner(db: Db) -> str | None:
    """Return whom chats without a binding wait for, as in ``targets.effective_target``."""
    row = db.execute("SELECT coalesce(owner, dispatcher) FROM lease WHERE one = 1").one()
    return None if row is None else row[0]


def _alias(db: Db, session_id: str | None) -> str | None:
    if session_id is None:
        return None
    row = db.execute("SELECT alias FROM session WHERE session_id = ?1", session_id).one()
    return None if row is None else str(row[0])
