"""Who was given what, what was sent where, and what waits for an answer."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

from actors.journal import Store
from actors.journal.schema import GROWING_TABLES
from actors.messages import journal
from protocol.ids import AccountId, ChatId, MessageId, RowId, SessionId
from protocol.routing.delivery import RowState
from protocol.routing.pairing import AccessBook
from tests.actors.journal.desk import ACCOUNT, NOBODY, Desk

S, OTHER = SessionId("s"), SessionId("other")
CHAT = ChatId("oc_1")


def ready(desk: Desk, event: str, key: str) -> None:
    desk.prepare(desk.append(event, key=key).row_id)


def correspondent(desk: Desk, session: SessionId, chat: ChatId = CHAT) -> journal.Correspondence:
    asked = journal.Correspondent(session_id=session, chat_id=chat, reply=NOBODY)
    answer: journal.Correspondence = desk.ask(asked)
    return answer


def unanswered(desk: Desk, **which: Any) -> list[str]:
    fields: dict[str, Any] = {"session_id": S, "limit": 10, "reply": NOBODY} | which
    asked = journal.Unanswered(**fields)
    return [row.event_id for row in desk.ask(asked)]


def where_is(desk: Desk, message: str) -> journal.MessageAt | None:
    asked = journal.WhereIs(message_id=MessageId(message), accounts=(ACCOUNT,), reply=NOBODY)
    answer: journal.MessageAt | None = desk.ask(asked)
    return answer


def note_sent(desk: Desk, message: str, at_ms: int = 1_000) -> bool:
    noted: journal.Done = desk.ask(
        journal.NoteSent(
            message_id=MessageId(message),
            account=ACCOUNT,
            chat_id=CHAT,
            at_ms=at_ms,
            reply=NOBODY,
        ),
    )
    return noted.changed


def overdue(desk: Desk, before_ms: int) -> dict[SessionId, int]:
    found: dict[SessionId, int] = desk.ask(
        journal.Overdue(delivered_before_ms=before_ms, reply=NOBODY)
    )
    return found


def test_a_session_that_was_offered_a_message_was_given_one(desk: Desk) -> None:
    nobody = journal.Correspondence(account=None, given=False)
    assert correspondent(desk, S) == nobody
    desk.ready("e1")
    assert correspondent(desk, S) == nobody
    desk.offer(S)
    assert correspondent(desk, S) == journal.Correspondence(account=ACCOUNT, given=True)
    assert correspondent(desk, OTHER) == journal.Correspondence(account=ACCOUNT, given=False)
    assert correspondent(desk, S, ChatId("oc_2")) == nobody


def test_rows_wait_for_an_answer_from_the_offer_to_the_close(desk: Desk) -> None:
    ready(desk, "e1", "om_1")
    ready(desk, "e2", "om_2")
    assert unanswered(desk) == []
    first, second = desk.offer(S), desk.offer(S)
    assert first is not None
    assert second is not None
    desk.acked("e1", 1, 1)
    assert unanswered(desk) == ["e1", "e2"]
    assert unanswered(desk, limit=1) == ["e1"]
    assert unanswered(desk, chat_id=CHAT, message_id=MessageId("om_2")) == ["e2"]
    assert unanswered(desk, chat_id=ChatId("oc_2")) == []
    assert unanswered(desk, session_id=OTHER) == []
    desk.close(first.row_id)
    assert unanswered(desk) == ["e2"]
    desk.release()
    assert unanswered(desk) == [], "it waits for whoever hears it now"


def test_what_was_delivered_long_ago_and_not_answered_is_counted_by_session(desk: Desk) -> None:
    for event in ("e1", "e2"):
        desk.ready(event)
        desk.offer(S)
    desk.acked("e1", 1, 1)
    (changed_at,) = desk.store._db.execute(
        "SELECT changed_at FROM inbound WHERE event_id = 'e1'"
    ).fetchone()
    assert overdue(desk, changed_at) == {}
    assert overdue(desk, changed_at + 1) == {S: 1}


def test_a_message_is_found_where_it_was_received_or_sent(desk: Desk) -> None:
    assert where_is(desk, "om_1") is None
    desk.append("e1", key="om_1")
    assert where_is(desk, "om_1") is None, "its chat is not known before the gate"
    desk.prepare(1)
    assert where_is(desk, "om_1") == journal.MessageAt(account=ACCOUNT, chat_id=CHAT, ours=False)
    assert note_sent(desk, "om_2")
    assert not note_sent(desk, "om_2")
    assert where_is(desk, "om_2") == journal.MessageAt(account=ACCOUNT, chat_id=CHAT, ours=True)


def test_sent_messages_are_forgotten_by_age(desk: Desk) -> None:
    note_sent(desk, "om_old", at_ms=1)
    note_sent(desk, "om_new", at_ms=100)
    desk.prune(100)
    assert where_is(desk, "om_old") is None
    assert where_is(desk, "om_new") is not None


def test_the_book_of_an_account_comes_back_as_it_was_saved(desk: Desk) -> None:
    book = AccessBook(groups=frozenset({CHAT}))
    account = AccountId("main")
    assert desk.ask(journal.LoadAccess(account=account, reply=NOBODY)) == AccessBook()
    desk.ask(journal.SaveAccess(account=account, book=book, reply=NOBODY))
    assert desk.ask(journal.LoadAccess(account=account, reply=NOBODY)) == book
    desk.store._db.execute("UPDATE access SET book = 'x{'")
    assert desk.ask(journal.LoadAccess(account=account, reply=NOBODY)) == AccessBook()


def test_no_question_scans_a_table_that_grows() -> None:
    with closing(Store.open(None)) as store:
        db, desk = store._db, Desk(store)
        issued: set[str] = set()
        db.set_trace_callback(issued.add)
        ready(desk, "e1", "om_1")
        desk.offer(S)
        correspondent(desk, S)
        correspondent(desk, OTHER)
        unanswered(desk)
        unanswered(desk, chat_id=CHAT, message_id=MessageId("om_1"))
        where_is(desk, "om_1")
        note_sent(desk, "om_2")
        overdue(desk, 5)
        desk.close(RowId(1), RowState.ANSWERED)
        desk.prune(10)
        db.set_trace_callback(None)
        planned = [sql for sql in issued if re.match("SELECT|INSERT|UPDATE|DELETE", sql)]
        scans = [
            (detail, sql)
            for sql in planned
            for *_, detail in db.execute(f"EXPLAIN QUERY PLAN {sql}")
            if detail.startswith("SCAN") and detail.split()[1] in GROWING_TABLES | {"given"}
        ]
    assert len(planned) > 15, "the store was not traced"
    assert scans == []
