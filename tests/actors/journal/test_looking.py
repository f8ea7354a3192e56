"""What an operator sees of the rows, on both stores, and what it costs."""

from __future__ import annotations

from contextlib import closing

import pytest

from actors.journal import SqliteStore
from actors.journal.looking import COUNTED_MAX, PREPARED_BYTES_MAX
from actors.messages import journal
from protocol.routing.delivery import RowState
from tests.actors.journal.client import NOBODY, JournalClient
from tests.actors.journal.test_cost import append_many, steps_of


def look(client: JournalClient, limit: int = 50) -> journal.RowsSeen:
    seen = client.ask(journal.LookAtRows(limit=limit, reply=NOBODY))
    assert isinstance(seen, journal.RowsSeen), seen
    return seen


def explain(client: JournalClient, message: str) -> journal.Explained | None:
    found: journal.Explained | None = client.ask(journal.Explain(message=message, reply=NOBODY))
    return found


def test_an_empty_journal_shows_nothing(client: JournalClient) -> None:
    seen = look(client)
    assert set(seen.counts.values()) == {0}
    assert [seen.waiting, seen.waiting_chats, seen.given, seen.chats] == [(), (), (), ()]
    assert explain(client, "om_1") is None


def test_rows_are_seen_by_state_chat_and_session(client: JournalClient) -> None:
    client.bind({"oc_2#omt_1": "mate"})
    client.prepare(client.append("e1", key="om_1", at_ms=1).row_id)
    client.offer("boss")
    client.acked("e1", at_ms=7)
    client.prepare(client.append("e2", key="om_2", at_ms=2).row_id, "oc_1", content="one\n two")
    client.prepare(client.append("e3", key="om_3", at_ms=3).row_id, "oc_2#omt_1")
    client.append("e4", at_ms=4)
    client.ready("e5", "oc_3")
    client.offer("boss")
    client.close(client.ready("e6", "oc_4"))

    seen = look(client)
    assert seen.counts == {
        RowState.RECEIVED: 1,
        RowState.READY: 2,
        RowState.OFFERED: 1,
        RowState.DELIVERED: 1,
        RowState.DAMAGED: 0,
    }
    assert {(one.message_id, one.session_id, one.topic, one.text) for one in seen.waiting} == {
        ("om_3", "mate", "omt_1", "hello"),
        (None, None, None, None),
        *(
            (None, None, None, "hello")
            if one.chat_id == "oc_3"
            else ("om_2", None, None, "one two")
            for one in seen.waiting
            if one.session_id is None and one.chat_id is not None
        ),
    }
    assert [(one.session_id, one.chat_id, one.at_ms) for one in seen.given] == [("boss", "oc_1", 7)]
    assert {(one.chat_id, one.topic) for one in seen.chats} == {
        ("oc_1", None),
        ("oc_2", "omt_1"),
        ("oc_3", None),
        ("oc_4", None),
    }
    assert sum(one.waiting for one in seen.waiting_chats) == 2
    found = explain(client, "om_3")
    assert found is not None
    assert (found.event_id, found.chat_id, found.history.session_id) == ("e3", "oc_2", "mate")
    assert explain(client, "e1") == explain(client, "om_1")


def test_a_long_message_is_not_read(client: JournalClient) -> None:
    client.ready("e1", content="x" * (PREPARED_BYTES_MAX + 1))
    (one,) = look(client).waiting
    assert one.text is None


def test_only_counting_lists_nothing(client: JournalClient) -> None:
    client.ready("e1")
    seen = look(client, 0)
    assert (seen.counts[RowState.READY], seen.waiting, seen.chats) == (1, (), ())


@pytest.mark.parametrize("state", ["received", "ready", "offered", "delivered", "answered"])
def test_looking_costs_the_same_however_much_is_stored(state: str) -> None:
    steps = {}
    for count in (2 * COUNTED_MAX, 10 * COUNTED_MAX):
        with closing(SqliteStore.open(None)) as store:
            client = JournalClient(store)
            append_many(client, count, "row")
            chat = None if state == "received" else "oc_1"
            client.db.execute(
                "UPDATE inbound SET state = ?1, chat_id = ?2, routed_to = 's'", (state, chat)
            )
            steps[count] = steps_of(client, look)
            assert max(look(client).counts.values()) <= COUNTED_MAX
    first, second = steps.values()
    assert second <= first * 1.05, steps
