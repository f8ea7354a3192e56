"""Sessions that were here before: what people see of them, and what is unread in a chat.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

import sqlite3

from actors.messages import journal
from protocol.ids import ChatId, SessionId
from protocol.routing.roster import KnownSession, Roster, reply_mode


def load_roster(db: sqlite3.Connection, _message: journal.LoadRoster) -> Roster:
    """Return the roster, the latest seen first."""
    sessions = tuple(
        KnownSession(
            session_id=SessionId(session_id),
            alias=alias,
            agent=agent,
            cwd=cwd,
            reply_mode=reply_mode(mode),
            seen_at_ms=seen_at,
        )
        for session_id, alias, agent, cwd, mode, seen_at in db.execute(
            "SELECT session_id, alias, agent, cwd, reply_mode, seen_at FROM session"
            " ORDER BY seen_at DESC"
        )
    )
    unread = frozenset(
        (SessionId(session_id), ChatId(chat_id))
        for session_id, chat_id in db.execute("SELECT session_id, chat_id FROM unread")
    )
    return Roster(sessions=sessions, unread=unread)


def save_session(db: sqlite3.Connection, message: journal.SaveSession) -> journal.Done:
    one = message.session
    db.execute(
        "INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET"
        " alias = ?2, agent = ?3, cwd = ?4, reply_mode = ?5, seen_at = ?6",
        (one.session_id, one.alias, one.agent, one.cwd, one.reply_mode, one.seen_at_ms),
    )
    return journal.Done()


def forget_session(db: sqlite3.Connection, message: journal.ForgetSession) -> journal.Done:
    gone = db.execute("DELETE FROM session WHERE session_id = ?", (message.session_id,))
    return journal.Done(changed=gone.rowcount > 0)


def save_unread(db: sqlite3.Connection, message: journal.SaveUnread) -> journal.Done:
    sql = (
        "INSERT INTO unread SELECT ?1, ?2 WHERE EXISTS"
        " (SELECT 1 FROM session WHERE session_id = ?1) ON CONFLICT DO NOTHING"
        if message.unread
        else "DELETE FROM unread WHERE session_id = ? AND chat_id = ?"
    )
    changed = db.execute(sql, (message.session_id, message.chat_id)).rowcount
    return journal.Done(changed=changed > 0)
