"""Who was given messages of which chat, what was sent where, and what waits for an answer.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

import msgspec
import structlog

from actors.journal.db import Db, Later, SqlValue, change
from actors.journal.joined import together
from actors.journal.prompts import decode_prompt
from actors.messages import journal
from protocol.ids import AccountId, ChatId, ChatType, EventId, MessageId, OpenId, RowId, SessionId
from protocol.routing.delivery import Offer
from protocol.routing.receivers import ChatKnown

_DAMAGE = (msgspec.MsgspecError, UnicodeError, TypeError)

log = structlog.get_logger()


def note_given(db: Db, session_id: SessionId, offer: Offer) -> None:
    """A session was offered a message of a chat, so it may answer there."""
    db.execute(
        "INSERT INTO given (session_id, chat_id, account) VALUES (?1, ?2, ?3)"
        " ON CONFLICT DO NOTHING",
        session_id,
        offer.prompt.chat_id,
        offer.account,
    )
    db.execute(
        "INSERT INTO turn_place (session_id, account, chat_id, thread_id, chat_type, message_id,"
        " sender_id, row_id, topic) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        " ON CONFLICT (session_id, account, chat_id, thread_id) DO UPDATE SET"
        " chat_type = ?5, message_id = ?6, sender_id = ?7, row_id = ?8, topic = ?9",
        session_id,
        offer.account,
        offer.prompt.chat_id,
        offer.prompt.thread_id or "",
        offer.prompt.chat_type,
        offer.prompt.message_id,
        offer.prompt.sender_id,
        offer.row_id,
        offer.prompt.topic,
    )


def find_chat(db: Db, message: journal.FindChat) -> journal.ChatKnownAs | None:
    """Return whose chat it is and of which kind; one step into an index."""
    found = db.execute(
        "SELECT account, chat_type, sender_id FROM turn_place WHERE chat_id = ?1"
        " ORDER BY row_id DESC LIMIT 1",
        message.chat_id,
    ).one()
    if found is None:
        return None
    account, chat_type, sender_id = found
    kind: ChatType = "p2p" if chat_type == "p2p" else "group"
    return journal.ChatKnownAs(
        account=AccountId(account),
        chat=ChatKnown(chat_type=kind, sender_id=OpenId(sender_id)),
    )


def find_turn_place(db: Db, message: journal.FindTurnPlace) -> journal.TurnPlace | None:
    """Return where a turn of the session's own is shown: its last place, or the one it names."""
    sql = (
        "SELECT account, chat_id, thread_id, chat_type, message_id, sender_id, topic"
        " FROM turn_place WHERE session_id = ?1"
    )
    values: list[str] = [message.session_id]
    for column, wanted in (
        ("account", message.account),
        ("chat_id", message.chat_id),
        ("thread_id", message.thread_id),
    ):
        if wanted is not None:
            values.append(wanted)
            sql += f" AND {column} = ?{len(values)}"
    found = db.execute(f"{sql} ORDER BY row_id DESC LIMIT 1", *values).one()
    if found is None:
        return None
    account, chat_id, thread_id, chat_type, message_id, sender_id, topic = found
    return journal.TurnPlace(
        account=AccountId(account),
        chat_id=ChatId(chat_id),
        thread_id=thread_id or None,
        chat_type="p2p" if chat_type == "p2p" else "group",
        message_id=MessageId(message_id),
        sender_id=OpenId(sender_id),
        topic=topic,
    )


def correspondent(db: Db, message: journal.Correspondent) -> journal.Correspondence:
    """Return whose chat it is, and whether this session was given a message of it."""
    own = db.execute(
        "SELECT account FROM given WHERE chat_id = ?1 AND session_id = ?2",
        message.chat_id,
        message.session_id,
    ).one()
    known = (
        own
        or db.execute("SELECT account FROM given WHERE chat_id = ?1 LIMIT 1", message.chat_id).one()
    )
    return journal.Correspondence(
        account=None if known is None else AccountId(known[0]), given=own is not None
    )


def note_sent(db: Db, message: journal.NoteSent) -> Later[journal.Done]:
    return change(
        db,
        "INSERT INTO sent (message_id, account, chat_id, sent_at, topic)"
        " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        message.message_id,
        message.account,
        message.chat_id,
        message.at_ms,
        message.topic,
    )


def where_is(db: Db, message: journal.WhereIs) -> journal.MessageAt | None:
    """Find a message people sent us, or one of ours."""
    own = db.execute(
        "SELECT account, chat_id, topic FROM sent WHERE message_id = ?1", message.message_id
    ).one()
    found = own
    for account in () if own else message.accounts:
        found = db.execute(
            "SELECT account, chat_id, topic FROM inbound WHERE account = ?1 AND message_key = ?2"
            " AND chat_id IS NOT NULL AND state <> 'refused'",
            account,
            message.message_id,
        ).one()
        if found:
            break
    if found is None:
        return None
    return journal.MessageAt(
        account=AccountId(found[0]),
        chat_id=ChatId(found[1]),
        ours=own is not None,
        topic=found[2],
    )


def unanswered(db: Db, message: journal.Unanswered) -> tuple[journal.UnansweredRow, ...]:
    """Return the rows this session was given and has not answered, oldest first."""
    sql = (
        "SELECT row_id, account, event_id, attempt, received_at, message_key,"
        " (SELECT prepared FROM content WHERE content.row_id = inbound.row_id) FROM inbound"
        " WHERE state IN ('offered', 'delivered') AND session_id = ?1"
    )
    values: list[SqlValue] = [message.session_id]
    if message.chat_id is not None:
        values.append(message.chat_id)
        sql += f" AND chat_id = ?{len(values)}"
    if message.message_id is not None:
        values.append(message.message_id)
        sql += f" AND message_key = ?{len(values)}"
    values.append(message.limit)
    rows = db.execute(f"{sql} ORDER BY row_id LIMIT ?{len(values)}", *values).all()
    found: list[journal.UnansweredRow] = []
    for row_id, account, event_id, attempt, received_at, key, blob in rows:
        try:
            found.append(
                journal.UnansweredRow(
                    row_id=RowId(row_id),
                    account=AccountId(account),
                    event_id=EventId(event_id),
                    attempt=attempt,
                    received_at_ms=received_at,
                    message_id=None if key is None else MessageId(key),
                    prompt=decode_prompt(blob),
                )
            )
        except _DAMAGE as damage:
            log.error("journal.row_unreadable", row=row_id, reason=str(damage)[:500])  # noqa: TRY400 -- no traceback: its frames hold message text
    return tuple(found)


def find_attachment(db: Db, message: journal.FindAttachment) -> journal.GivenAttachment | None:
    """Look for it in the row and in those joined to it, which were given as one prompt."""
    rows = db.execute(
        "SELECT row_id, account, (SELECT prepared FROM content"  # noqa: S608 -- our own constants
        " WHERE content.row_id = inbound.row_id) FROM inbound"
        f" WHERE row_id IN {together('(SELECT row_id FROM inbound WHERE event_id = ?1)')}"
        " AND session_id = ?2 AND state IN ('offered', 'delivered') ORDER BY row_id",
        message.event_id,
        message.session_id,
    ).all()
    for row_id, account, blob in rows:
        try:
            prompt = decode_prompt(blob)
        except _DAMAGE as damage:
            log.error("journal.row_unreadable", row=row_id, reason=str(damage)[:500])  # noqa: TRY400 -- as above
            continue
        for attachment in prompt.attachments:
            if attachment.file_key == message.file_key:
                return journal.GivenAttachment(
                    account=AccountId(account),
                    message_id=prompt.message_id,
                    attachment=attachment,
                )
    return None


def overdue(db: Db, message: journal.Overdue) -> dict[SessionId, int]:
    """Count, by session, the rows that were delivered before a moment and not answered."""
    rows = db.execute(
        "SELECT session_id, count(*) FROM inbound WHERE state = 'delivered'"
        " AND changed_at < ?1 GROUP BY session_id",
        message.delivered_before_ms,
    ).all()
    return {SessionId(session): count for session, count in rows}
