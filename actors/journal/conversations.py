"""The conversations of agents: by agent and directory, so that any session can take them up.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

from typing import Final

from actors.journal.db import Db
from actors.journal.roster import store_session
from actors.messages import journal
from protocol.wire.messages import EarlierConversation

KEPT_MAX: Final = 50
"""Of one agent in one directory; the oldest goes first."""
KEY_BYTES_MAX: Final = 2_000
"""Of agent, directory and id together: PostgreSQL's index takes no more than 2,704."""
KEPT_MS: Final = 180 * 24 * 3_600 * 1_000


def note_conversation(db: Db, message: journal.NoteConversation) -> journal.Done:
    one = message.session
    store_session(db, one)
    if one.conversation is None:
        return journal.Done()
    if len(f"{one.agent}{one.cwd}{one.conversation}".encode()) > KEY_BYTES_MAX:
        return journal.Done(changed=False)
    db.execute(
        "INSERT INTO conversation (agent, cwd, conversation_id, title, used_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (agent, cwd, conversation_id) DO UPDATE SET"
        " title = COALESCE(?4, conversation.title), used_at = ?5",
        one.agent,
        one.cwd,
        one.conversation,
        message.title,
        message.at_ms,
    )
    db.execute(
        "DELETE FROM conversation WHERE agent = ?1 AND cwd = ?2 AND conversation_id NOT IN"
        " (SELECT conversation_id FROM conversation WHERE agent = ?1 AND cwd = ?2"
        " ORDER BY used_at DESC LIMIT ?3)",
        one.agent,
        one.cwd,
        KEPT_MAX,
    )
    db.execute("DELETE FROM conversation WHERE used_at < ?1", message.at_ms - KEPT_MS)
    return journal.Done()


def find_conversations(
    db: Db, message: journal.FindConversations
) -> tuple[EarlierConversation, ...]:
    """Return them, the latest used first; one step into an index."""
    rows = db.execute(
        "SELECT conversation_id, title, used_at FROM conversation"
        " WHERE agent = ?1 AND cwd = ?2 ORDER BY used_at DESC LIMIT ?3",
        message.agent,
        message.cwd,
        message.limit,
    ).all()
    return tuple(
        EarlierConversation(id=conversation_id, title=title, used_at=used_at)
        for conversation_id, title, used_at in rows
    )
