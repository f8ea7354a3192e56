"""Sessions that were here before: what people see of them, and what is unread in a chat.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

import msgspec

from actors.journal.db import Db, Later, Row, change
from actors.messages import journal
from protocol.ids import PlaceKey, SessionId
from protocol.routing.roster import KnownSession, Roster, StartedAgent, reply_mode
from protocol.wire.vocabulary import ROLES


def load_roster(db: Db, _message: journal.LoadRoster) -> Later[Roster]:
    """Return the roster, the latest seen first."""
    sessions = db.execute(
        "SELECT session_id, alias, agent, cwd, reply_mode, seen_at, role, choices, started,"
        " conversation FROM session ORDER BY seen_at DESC"
    )
    unread = db.execute("SELECT session_id, chat_id FROM unread")
    return Later(
        lambda: Roster(
            sessions=tuple(map(_known_session, sessions.all())),
            unread=frozenset(
                (SessionId(session_id), PlaceKey(chat_id)) for session_id, chat_id in unread.all()
            ),
        )
    )


def _known_session(row: Row) -> KnownSession:
    session_id, alias, agent, cwd, mode, seen_at, role, choices, started, conversation = row
    return KnownSession(
        session_id=SessionId(session_id),
        alias=alias,
        agent=agent,
        cwd=cwd,
        reply_mode=reply_mode(mode),
        seen_at_ms=seen_at,
        role=next((each for each in ROLES if each == role), None),
        choices=_choices(choices),
        started=_started(started),
        conversation=conversation,
    )


def _choices(stored: str) -> dict[str, str]:
    """Read what was chosen; damage is forgotten, and chosen anew by whoever misses it."""
    try:
        return msgspec.json.decode(stored, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeError):
        return {}


def _started(stored: str | None) -> StartedAgent | None:
    """Read how its agent was started; damage is an agent that does not come back by itself."""
    if stored is None:
        return None
    try:
        return msgspec.json.decode(stored, type=StartedAgent)
    except (msgspec.DecodeError, UnicodeError):
        return None


def save_session(db: Db, message: journal.SaveSession) -> journal.Done:
    store_session(db, message.session)
    return journal.Done()


def store_session(db: Db, one: KnownSession) -> None:
    db.execute(
        "INSERT INTO session"
        " (session_id, alias, agent, cwd, reply_mode, seen_at, role, choices, started,"
        " conversation) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        " ON CONFLICT (session_id) DO UPDATE SET alias = ?2, agent = ?3, cwd = ?4,"
        " reply_mode = ?5, seen_at = ?6, role = ?7, choices = ?8, started = ?9, conversation = ?10",
        one.session_id,
        one.alias,
        one.agent,
        one.cwd,
        one.reply_mode,
        one.seen_at_ms,
        one.role,
        msgspec.json.encode(one.choices).decode(),
        msgspec.json.encode(one.started).decode() if one.started else None,
        one.conversation,
    )


def forget_session(db: Db, message: journal.ForgetSession) -> Later[journal.Done]:
    return change(db, "DELETE FROM session WHERE session_id = ?1", message.session_id)


def save_unread(db: Db, message: journal.SaveUnread) -> Later[journal.Done]:
    sql = (
        "INSERT INTO unread (session_id, chat_id) SELECT session_id, ?2 FROM session"
        " WHERE session_id = ?1 ON CONFLICT DO NOTHING"
        if message.unread
        else "DELETE FROM unread WHERE session_id = ?1 AND chat_id = ?2"
    )
    return change(db, sql, message.session_id, message.place)
