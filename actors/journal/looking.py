"""What an operator sees of the rows. Each statement is bounded, however much is stored."""

from __future__ import annotations

from typing import Final

from actors.journal.db import Db, ResultRows, Row, the_one
from actors.journal.prompts import decode_prompt
from actors.journal.waiting import DAMAGE
from actors.messages import journal
from protocol.ids import AccountId, ChatId, MessageId, SessionId
from protocol.routing.delivery import RowState

COUNTED_MAX: Final = 1_000
CHATS_OF_ROWS_MAX: Final = 500
"""Chats are those of so many messages that came last."""
TEXT_CHARACTERS_MAX: Final = 120
PREPARED_BYTES_MAX: Final = 16 * 1024
"""Of a longer message not even the beginning is read: it is one of fifty, every second."""
_COUNTED: Final = (
    RowState.RECEIVED,
    RowState.READY,
    RowState.OFFERED,
    RowState.DELIVERED,
    RowState.DAMAGED,
)


def look_at_rows(db: Db, message: journal.LookAtRows) -> journal.RowsSeen:
    counts = {
        state: db.execute(
            # In the words of its partial index.
            f"SELECT count(*) FROM (SELECT 1 FROM inbound WHERE state = '{state}'"  # noqa: S608 -- our own constants
            f" LIMIT {COUNTED_MAX}) AS counted"
        )
        for state in _COUNTED
    }
    if not message.limit:
        return journal.RowsSeen(counts=_read(counts))
    waiting = db.execute(
        "SELECT account, chat_id, topic, message_key, state, routed_to, received_at, attempt,"  # noqa: S608 -- likewise
        f" CASE WHEN length(prepared) <= {PREPARED_BYTES_MAX} THEN prepared END"
        " FROM inbound LEFT JOIN content USING (row_id)"
        " WHERE state IN ('received', 'ready') ORDER BY received_at LIMIT ?1",
        message.limit,
    )
    waiting_chats = db.execute(
        "SELECT account, chat_id, count(*), min(received_at) AS oldest_at FROM"  # noqa: S608 -- likewise
        " (SELECT account, chat_id, received_at FROM inbound"
        " WHERE state IN ('received', 'ready')"
        f" ORDER BY received_at LIMIT {COUNTED_MAX}) AS oldest"
        " WHERE chat_id IS NOT NULL GROUP BY account, chat_id ORDER BY oldest_at LIMIT ?1",
        message.limit,
    )
    given = _given(db, message.limit)
    chats = _chats(db, message.limit)
    return journal.RowsSeen(
        counts=_read(counts),
        waiting=tuple(map(_waiting, waiting.all())),
        waiting_chats=tuple(
            journal.ChatWaiting(
                account=AccountId(account),
                chat_id=ChatId(chat_id),
                waiting=waiting_here,
                oldest_at_ms=oldest_at,
            )
            for account, chat_id, waiting_here, oldest_at in waiting_chats.all()
        ),
        given=given,
        chats=chats,
    )


def _given(db: Db, limit: int) -> tuple[journal.RowGiven, ...]:
    found = db.execute(
        "SELECT session_id, account, chat_id, topic, changed_at FROM inbound"
        " WHERE state = 'delivered' ORDER BY changed_at DESC LIMIT ?1",
        limit,
    )
    return tuple(
        journal.RowGiven(
            session_id=SessionId(session_id),
            account=AccountId(account),
            chat_id=ChatId(chat_id),
            topic=topic,
            at_ms=at_ms,
        )
        for session_id, account, chat_id, topic, at_ms in found.all()
        if session_id and chat_id
    )


def _chats(db: Db, limit: int) -> tuple[journal.ChatSeen, ...]:
    found = db.execute(
        # The inner limit keeps the planner from walking an index by chat instead.
        "SELECT account, chat_id, topic, max(received_at) AS last_at FROM"  # noqa: S608 -- our own constants
        " (SELECT account, chat_id, topic, received_at FROM inbound"
        f" ORDER BY row_id DESC LIMIT {CHATS_OF_ROWS_MAX}) AS latest"
        " WHERE chat_id IS NOT NULL GROUP BY account, chat_id, topic"
        " ORDER BY last_at DESC LIMIT ?1",
        limit,
    )
    return tuple(
        journal.ChatSeen(
            account=AccountId(account), chat_id=ChatId(chat_id), topic=topic, last_at_ms=at_ms
        )
        for account, chat_id, topic, at_ms in found.all()
    )


def _read(counts: dict[RowState, ResultRows]) -> dict[RowState, int]:
    return {state: int(the_one(rows)[0]) for state, rows in counts.items()}


def _waiting(row: Row) -> journal.RowWaiting:
    account, chat_id, topic, message_key, state, session_id, received_at, attempt, prepared = row
    return journal.RowWaiting(
        account=AccountId(account),
        chat_id=ChatId(chat_id) if chat_id else None,
        topic=topic,
        message_id=MessageId(message_key) if message_key else None,
        state=RowState(state),
        session_id=SessionId(session_id) if session_id else None,
        received_at_ms=received_at,
        attempt=attempt,
        text=_beginning(prepared),
    )


def _beginning(prepared: bytes | None) -> str | None:
    try:
        text = decode_prompt(prepared).content if prepared is not None else None
    except DAMAGE:
        return None  # damaged: set aside when it is its turn
    return None if text is None else " ".join(text[: 2 * TEXT_CHARACTERS_MAX].split())
