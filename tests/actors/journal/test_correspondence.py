"""Who was given what, what was sent where, and what waits for an answer."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import msgspec

from actors.journal import SqliteStore
from actors.messages import journal
from protocol.ids import AccountId, ChatId, EventId, MessageId, RowId, SessionId
from protocol.routing.delivery import RowState
from protocol.routing.pairing import AccessBook
from protocol.wire.messages import Attachment
from tests.actors.journal.client import ACCOUNT, GROWING_TABLES, NOBODY, JournalClient, prompt

S, OTHER = SessionId("s"), SessionId("other")
CHAT = ChatId("oc_1")


def ready(client: JournalClient, event: str, key: str) -> None:
    client.prepare(client.append(event, key=key).row_id)


def correspondent(
    client: JournalClient, session: SessionId, chat: ChatId = CHAT
) -> journal.Correspondence:
    asked = journal.Correspondent(session_id=session, chat_id=chat, reply=NOBODY)
    answer: journal.Correspondence = client.ask(asked)
    return answer


def unanswered(client: JournalClient, **which: Any) -> list[str]:
    fields: dict[str, Any] = {"session_id": S, "limit": 10, "reply": NOBODY} | which
    asked = journal.Unanswered(**fields)
    return [row.event_id for row in client.ask(asked)]


def where_is(client: JournalClient, message: str) -> journal.MessageAt | None:
    asked = journal.WhereIs(message_id=MessageId(message), accounts=(ACCOUNT,), reply=NOBODY)
    answer: journal.MessageAt | None = client.ask(asked)
    return answer


def note_sent(client: JournalClient, message: str, at_ms: int = 1_000) -> bool:
    noted: journal.Done = client.ask(
        journal.NoteSent(
            message_id=MessageId(message),
            account=ACCOUNT,
            chat_id=CHAT,
            at_ms=at_ms,
            reply=NOBODY,
        ),
    )
    return noted.changed


def overdue(client: JournalClient, before_ms: int) -> dict[SessionId, int]:
    found: dict[SessionId, int] = client.ask(
        journal.Overdue(delivered_before_ms=before_ms, reply=NOBODY)
    )
    return found


def test_a_session_that_was_offered_a_message_was_given_one(client: JournalClient) -> None:
    nobody = journal.Correspondence(account=None, given=False)
    assert correspondent(client, S) == nobody
    client.ready("e1")
    assert correspondent(client, S) == nobody
    client.offer(S)
    assert correspondent(client, S) == journal.Correspondence(account=ACCOUNT, given=True)
    assert correspondent(client, OTHER) == journal.Correspondence(account=ACCOUNT, given=False)
    assert correspondent(client, S, ChatId("oc_2")) == nobody


def test_rows_wait_for_an_answer_from_the_offer_to_the_close(client: JournalClient) -> None:
    ready(client, "e1", "om_1")
    ready(client, "e2", "om_2")
    assert unanswered(client) == []
    first, second = client.offer(S), client.offer(S)
    assert first is not None
    assert second is not None
    client.acked("e1", 1, 1)
    assert unanswered(client) == ["e1", "e2"]
    assert unanswered(client, limit=1) == ["e1"]
    assert unanswered(client, chat_id=CHAT, message_id=MessageId("om_2")) == ["e2"]
    assert unanswered(client, chat_id=ChatId("oc_2")) == []
    assert unanswered(client, session_id=OTHER) == []
    client.close(first.row_id)
    assert unanswered(client) == ["e2"]
    client.release()
    assert unanswered(client) == [], "it waits for its next session"


def test_what_was_delivered_long_ago_and_not_answered_is_counted_by_session(
    client: JournalClient,
) -> None:
    for event in ("e1", "e2"):
        client.ready(event)
        client.offer(S)
    client.acked("e1", 1, 1)
    ((changed_at,),) = client.sql("SELECT changed_at FROM inbound WHERE event_id = 'e1'")
    assert overdue(client, changed_at) == {}
    assert overdue(client, changed_at + 1) == {S: 1}


def test_a_message_is_found_where_it_was_received_or_sent(client: JournalClient) -> None:
    assert where_is(client, "om_1") is None
    client.append("e1", key="om_1")
    assert where_is(client, "om_1") is None, "its chat is not known before the gate"
    client.prepare(1)
    assert where_is(client, "om_1") == journal.MessageAt(account=ACCOUNT, chat_id=CHAT, ours=False)
    assert note_sent(client, "om_2")
    assert not note_sent(client, "om_2")
    assert where_is(client, "om_2") == journal.MessageAt(account=ACCOUNT, chat_id=CHAT, ours=True)


def test_sent_messages_are_forgotten_by_age(client: JournalClient) -> None:
    note_sent(client, "om_old", at_ms=1)
    note_sent(client, "om_new", at_ms=100)
    client.prune(100)
    assert where_is(client, "om_old") is None
    assert where_is(client, "om_new") is not None


def test_the_book_of_an_account_comes_back_as_it_was_saved(client: JournalClient) -> None:
    book = AccessBook(groups=frozenset({CHAT}))
    account = AccountId("main")
    assert client.ask(journal.LoadAccess(account=account, reply=NOBODY)) == AccessBook()
    client.ask(journal.SaveAccess(account=account, book=book, reply=NOBODY))
    assert client.ask(journal.LoadAccess(account=account, reply=NOBODY)) == book
    client.sql("UPDATE access SET book = substr(book, 2)")
    assert client.ask(journal.LoadAccess(account=account, reply=NOBODY)) == AccessBook()


def test_no_question_scans_a_table_that_grows() -> None:
    with closing(SqliteStore.open(None)) as store:
        db, client = store._db, JournalClient(store)
        issued: set[str] = set()
        db.set_trace_callback(issued.add)
        ready(client, "e1", "om_1")
        client.offer(S)
        correspondent(client, S)
        correspondent(client, OTHER)
        unanswered(client)
        unanswered(client, chat_id=CHAT, message_id=MessageId("om_1"))
        where_is(client, "om_1")
        note_sent(client, "om_2")
        overdue(client, 5)
        client.close(RowId(1), RowState.ANSWERED)
        client.prune(10)
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


# ── what a message carries ──────────────────────────────────────────────────


def carried(
    client: JournalClient, event: str, key: str, session: SessionId = S
) -> journal.GivenAttachment | None:
    asked = journal.FindAttachment(
        session_id=session, event_id=EventId(event), file_key=key, reply=NOBODY
    )
    found: journal.GivenAttachment | None = client.ask(asked)
    return found


def with_attachment(client: JournalClient, event: str, *, joined: int | None = None) -> int:
    """Make a row ready that carries the file ``file_EVENT``; return its number."""
    row_id = client.append(event).row_id
    carries = Attachment(kind="file", name="a.pdf", file_key=f"file_{event}")
    one = msgspec.structs.replace(prompt(message=f"om_{event}"), attachments=(carries,))
    rows = (journal.PreparedRow(row_id=row_id, prompt=one),)
    lead = None if joined is None else RowId(joined)
    client.ask(journal.Prepare(rows=rows, joined_to=lead, reply=NOBODY))
    return row_id


def test_what_a_message_carries_is_found_by_who_was_given_it_alone(client: JournalClient) -> None:
    with_attachment(client, "e1")
    assert carried(client, "e1", "file_e1") is None, "not offered yet"
    client.offer("s", 1)
    found = carried(client, "e1", "file_e1")
    assert found is not None
    assert (found.account, found.message_id, found.attachment.name) == (ACCOUNT, "om_e1", "a.pdf")
    assert carried(client, "e1", "file_e1", OTHER) is None
    assert carried(client, "e1", "file_of_another") is None
    assert carried(client, "unknown", "file_e1") is None
    client.acked("e1", 1, 1)
    assert carried(client, "e1", "file_e1") is not None
    client.release(1)


def test_what_a_joined_message_carries_is_found_by_the_prompt(client: JournalClient) -> None:
    first = with_attachment(client, "e1")
    with_attachment(client, "e2", joined=first)
    client.sql("UPDATE inbound SET joined_to = (SELECT min(row_id) FROM inbound)")
    client.offer("s", 1)
    found = carried(client, "e1", "file_e2")
    assert found is not None
    assert found.message_id == "om_e2"
