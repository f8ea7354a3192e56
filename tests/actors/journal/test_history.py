"""What the journal knows of a message, in either store."""

from __future__ import annotations

from actors.messages import journal
from protocol.ids import ChatId, MessageId, RowId
from protocol.routing.delivery import RowState
from tests.actors.journal.client import ACCOUNT, NOBODY, JournalClient


def refuse(client: JournalClient, row_id: RowId, chat: str) -> None:
    closed: journal.Done = client.ask(
        journal.Close(
            row_id=row_id,
            state=RowState.REFUSED,
            note="bot not mentioned",
            at_ms=5_000,
            chat_id=ChatId(chat),
            reply=NOBODY,
        )
    )
    assert closed.changed


def test_each_step_keeps_its_time(client: JournalClient) -> None:
    client.prepare(client.append("e1", key="om_1", at_ms=1_000).row_id)
    client.offer("s", 1)
    client.acked("e1", at_ms=3_000)
    found = client.history("om_1")
    assert found is not None
    assert (found.state, found.session_id, found.attempt) == (RowState.DELIVERED, "s", 1)
    assert found.received_at_ms == 1_000
    assert found.offered_at_ms is not None
    assert found.seen_at_ms == 3_000
    client.close(found.row_id)
    closed = client.history("om_1")
    assert closed is not None
    assert (closed.offered_at_ms, closed.seen_at_ms) == (found.offered_at_ms, 3_000)


def test_what_is_before_a_row_that_waits_is_counted(client: JournalClient) -> None:
    for number in (1, 2, 3):
        client.prepare(client.append(f"e{number}", key=f"om_{number}").row_id)
    client.offer("s", 1)
    last = client.history("om_3")
    assert last is not None
    assert (last.ahead, last.under_way) == (1, 0), "nobody owns the channel"
    client.bind({"oc_1": "s"}, moved=["oc_1"])
    last = client.history("om_3")
    assert last is not None
    assert (last.session_id, last.ahead, last.under_way) == ("s", 1, 1)


def test_the_latest_of_a_chat_is_no_command_and_may_be_refused(client: JournalClient) -> None:
    client.prepare(client.append("e1", key="om_1").row_id)
    client.append("e2", key="om_command")
    latest = client.history()
    assert latest is not None
    assert latest.message_id == "om_1"
    refuse(client, client.append("e3", key="om_3").row_id, "oc_1")
    latest = client.history()
    assert latest is not None
    assert (latest.message_id, latest.note) == ("om_3", "bot not mentioned")
    assert client.history(chat="oc_2") is None
    assert client.history("om_3", chat="oc_2") is None, "of another chat"


def test_a_refused_message_is_none_that_a_session_may_act_on(client: JournalClient) -> None:
    refuse(client, client.append("e1", key="om_1").row_id, "oc_1")
    asked = journal.WhereIs(message_id=MessageId("om_1"), accounts=(ACCOUNT,), reply=NOBODY)
    assert client.ask(asked) is None
