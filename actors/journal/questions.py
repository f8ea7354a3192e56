"""Questions that are open, and how a press closes one.

Each function runs inside a transaction of its caller; what a message means is in
``actors.messages.journal``.
"""

from __future__ import annotations

import msgspec
import structlog

from actors.journal.db import Db, the_one
from actors.journal.ledgers import store_approval
from actors.messages import journal
from protocol.ids import AccountId, MessageId

_DAMAGE = (msgspec.MsgspecError, UnicodeError, TypeError)

log = structlog.get_logger()

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(journal.OpenQuestion).decode


def enter_question(db: Db, message: journal.EnterQuestion) -> journal.Done:
    asked = message.question
    db.execute("DELETE FROM question WHERE asked_at < ?1", message.forget_before_ms)
    (count,) = the_one(
        db.execute("SELECT count(*) FROM question WHERE session_id = ?1", asked.session_id)
    )
    again = db.execute("SELECT 1 FROM question WHERE question_id = ?1", asked.question_id).one()
    if count >= message.open_max or again is not None:
        return journal.Done(changed=False)
    db.execute(
        "INSERT INTO question (question_id, session_id, asked_at, asked) VALUES (?1, ?2, ?3, ?4)",
        asked.question_id,
        asked.session_id,
        asked.asked_at_ms,
        _encode(asked),
    )
    return journal.Done()


def forget_question(db: Db, message: journal.ForgetQuestion) -> journal.Done:
    db.execute("DELETE FROM question WHERE question_id = ?1", message.question_id)
    return journal.Done()


def find_question(db: Db, message: journal.FindQuestion) -> journal.OpenQuestion | None:
    return _find(db, message.question_id)


def _find(db: Db, question_id: str) -> journal.OpenQuestion | None:
    """Return the question; one that can't be read any more is none, and is logged."""
    row = db.execute("SELECT asked FROM question WHERE question_id = ?1", question_id).one()
    if row is None:
        return None
    try:
        return _decode(row[0])
    except _DAMAGE as damage:
        reason = str(damage)[:500]
        log.error("journal.question_damaged", question=question_id, reason=reason)  # noqa: TRY400 -- no traceback: its frames hold text of people
        return None


def answer_question(db: Db, message: journal.AnswerQuestion) -> journal.Done:
    """Make the press's row the answer.

    Its key becomes that of the card, so that a reply to the card counts as an answer to it.
    """
    still_open = db.execute(
        "SELECT 1 FROM question WHERE question_id = ?1", message.question_id
    ).one()
    received = db.execute(
        "SELECT account FROM inbound WHERE row_id = ?1 AND state = 'received'", message.row_id
    ).one()
    if still_open is None or received is None:
        return journal.Done(changed=False)
    db.execute("DELETE FROM question WHERE question_id = ?1", message.question_id)
    db.execute(
        "UPDATE content SET prepared = ?1 WHERE row_id = ?2",
        _encode(message.prompt),
        message.row_id,
    )
    db.execute(
        "UPDATE inbound SET state = 'ready', chat_id = ?1, routed_to = ?2, message_key = ?3,"
        " topic = ?5 WHERE row_id = ?4",
        message.prompt.chat_id,
        message.session_id,
        message.card_id,
        message.row_id,
        message.prompt.topic,
    )
    _store_card(db, AccountId(received[0]), message.card_id, message.last_card)
    return journal.Done()


def note_question_card(db: Db, message: journal.NoteQuestionCard) -> journal.Done:
    asked = _find(db, message.question_id)
    if asked is None:
        return journal.Done(changed=False)
    noted = msgspec.structs.replace(asked, card_id=message.card_id)
    db.execute(
        "UPDATE question SET asked = ?2 WHERE question_id = ?1", noted.question_id, _encode(noted)
    )
    return journal.Done()


def close_question(db: Db, message: journal.CloseQuestion) -> journal.QuestionClosed:
    asked = _find(db, message.question_id)
    if asked is None:
        return journal.QuestionClosed(changed=False)
    db.execute("DELETE FROM question WHERE question_id = ?1", message.question_id)
    card_id = message.card_id or asked.card_id
    if card_id is not None:
        _store_card(db, asked.account, card_id, message.last_card)
    return journal.QuestionClosed(card_id=card_id)


def _store_card(db: Db, account: AccountId, card_id: MessageId, last_card: str) -> None:
    """Keep what its card is to show at last, until the platform has taken that."""
    left = journal.ApprovalLeft(
        entry_id=card_id, account=account, message_id=card_id, last_card=last_card
    )
    store_approval(db, left)
