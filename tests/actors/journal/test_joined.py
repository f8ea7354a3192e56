"""Rows that are one prompt together share their state, on both stores."""

from __future__ import annotations

import msgspec
import pytest

from actors.messages import journal
from protocol.ids import ConnectionId, RowId, SessionId
from protocol.routing.delivery import RowState
from tests.actors.journal.client import NOBODY, JournalClient


def join(client: JournalClient, *events: str, chat: str = "oc_1") -> list[RowId]:
    rows = [client.append(event, key=f"om_{event}").row_id for event in events]
    assert client.prepare(rows[0], chat, content=events[0], joined=rows[1:])
    return rows


def states(client: JournalClient) -> list[str]:
    return [state for (state,) in client.sql("SELECT state FROM inbound ORDER BY row_id")]


def test_they_are_offered_as_one_and_answered_as_one(client: JournalClient) -> None:
    first, *_ = join(client, "e1", "e2", "e3")
    offer = client.offer()
    assert offer is not None
    assert (offer.row_id, offer.event_id, offer.attempt) == (first, "e1", 1)
    assert offer.prompt.content == "e1\n\ne1 2\n\ne1 3"
    assert offer.prompt.joined == ("om_1", "om_2", "om_3")
    assert client.offer() is None
    assert states(client) == ["offered"] * 3
    assert client.acked("e1")
    assert states(client) == ["delivered"] * 3
    assert client.close(first)
    assert states(client) == ["answered"] * 3
    assert client.sql("SELECT * FROM content") == []


def test_a_redelivery_is_the_same_prompt(client: JournalClient) -> None:
    join(client, "e1", "e2")
    given = client.offer("s", 1)
    assert client.release(1)
    again = client.offer("s", 2)
    assert given is not None
    assert again is not None
    assert again.prompt == given.prompt
    assert again.attempt == 2


def test_a_row_given_back_takes_what_is_joined_with_it(client: JournalClient) -> None:
    first, *_ = join(client, "e1", "e2")
    client.offer("s", 1)
    assert client.release(1, (first,))
    assert states(client) == ["ready"] * 2


def test_the_sweep_leaves_alone_what_is_joined_to_a_row_that_is_held(client: JournalClient) -> None:
    first, *_ = join(client, "e1", "e2")
    client.offer("s", 1)

    def sweep(*held: RowId) -> None:
        client.ask(
            journal.ReleaseUnknown(held=frozenset(held), connections=frozenset(), reply=NOBODY)
        )

    sweep(first)
    assert states(client) == ["offered"] * 2
    sweep()
    assert states(client) == ["ready"] * 2


def test_a_row_that_was_given_alone_is_another_prompt_than_those_it_was_joined_to(
    client: JournalClient,
) -> None:
    first, *_ = join(client, "e1", "e2", "e3")
    client.offer("s", 1, joins=False)
    client.offer("s", 2)
    client.ask(
        journal.ReleaseUnknown(held=frozenset({first}), connections=frozenset(), reply=NOBODY)
    )
    assert states(client) == ["offered", "ready", "ready"]
    assert client.release(1)
    assert client.waiting("s", unbound=True, limit=3) == [1, 2]


@pytest.mark.parametrize(
    ("recalled", "left"), [("om_e1", "om_2,om_3"), ("om_e2", "om_1,om_3"), ("om_e3", "om_1,om_2")]
)
def test_a_recalled_one_is_left_out_and_the_next_one_leads(
    client: JournalClient, recalled: str, left: str
) -> None:
    join(client, "e1", "e2", "e3")
    assert client.drop_message("default", recalled)
    offer = client.offer()
    assert offer is not None
    assert ",".join(offer.prompt.joined) == left
    assert offer.prompt.message_id == left.split(",", maxsplit=1)[0]
    assert client.acked(offer.event_id)
    assert sorted(states(client)) == ["delivered", "delivered", "expired"]


def test_recalled_before_it_was_ready(client: JournalClient) -> None:
    rows = [client.append(event, key=f"om_{event}").row_id for event in ("e1", "e2", "e3")]
    client.bind({"oc_1": "bound"})
    client.dispatch(rows[0], "oc_1")
    client.bind({"oc_1": "later"})
    assert client.drop_message("default", "om_e1")
    assert client.prepare(rows[1], joined=rows[2:], joined_to=rows[0])
    assert client.offer("later") is None, "bound when the first of them was dispatched"
    offer = client.offer("bound", unbound=False)
    assert offer is not None
    assert offer.prompt.joined == ("om_2", "om_3")


def test_a_channel_session_is_given_them_one_by_one(client: JournalClient) -> None:
    join(client, "e1", "e2")
    first = client.offer("s", 1, joins=False)
    assert first is not None
    assert first.prompt.content == "e1"
    assert not first.prompt.joined
    assert client.acked("e1")
    assert states(client) == ["delivered", "ready"]
    second = client.offer("s", 1, joins=False)
    assert second is not None
    assert second.row_id == 2


def test_they_take_one_place_in_the_queue_and_leave_it_together(client: JournalClient) -> None:
    capacity = journal.Capacity(session_id=SessionId("s"), takes_unbound=True, waiting_max=2)
    first, *_ = join(client, "e1", "e2", "e3")
    alone = client.append("e4").row_id
    assert client.prepare(alone, capacity=capacity), "one of two places is taken"
    assert client.prepare(client.append("e5").row_id, capacity=capacity) is None
    rows: tuple[journal.WaitingRow, ...] = client.ask(
        journal.FindWaiting(session_id=SessionId("s"), takes_unbound=True, limit=5, reply=NOBODY)
    )
    assert [(row.row_id, row.prompt.content) for row in rows] == [
        (first, "e1\n\ne1 2\n\ne1 3"),
        (alone, "hello"),
    ]
    assert client.drop_waiting([first], at_ms=7) == [first]
    assert states(client) == ["expired"] * 3 + ["ready", "received"]
    assert client.drop_waiting([first], at_ms=7) == [first], "asked again, answered as before"
    assert client.drop_waiting([first], at_ms=8) == []


def test_a_full_lane_takes_none_of_them(client: JournalClient) -> None:
    capacity = journal.Capacity(session_id=SessionId("s"), takes_unbound=True, waiting_max=1)
    client.ready("e0")
    rows = [client.append(event).row_id for event in ("e1", "e2")]
    assert client.prepare(rows[0], capacity=capacity, joined=rows[1:]) is None
    assert states(client) == ["ready", "received", "received"]


def test_what_a_full_lane_refused_stays_refused(client: JournalClient) -> None:
    """Its sender may be notified by the next run; by then later prompts have been given."""
    capacity = journal.Capacity(session_id=SessionId("s"), takes_unbound=True, waiting_max=1)
    client.ready("e0")
    rows = [client.append(event).row_id for event in ("e1", "e2")]
    assert client.prepare(rows[0], capacity=capacity, joined=rows[1:]) is None
    first = client.offer("s", 1)
    assert first is not None
    assert client.ready("e3") == 4
    roomy = msgspec.structs.replace(capacity, waiting_max=9)
    for limit in (capacity, roomy, None):
        assert client.prepare(rows[0], capacity=limit, joined=rows[1:]) is None
    assert states(client) == ["offered", "received", "received", "ready"]
    assert [row.row_id for row in client.unprepared()] == rows, "to be notified of"
    assert client.close(rows[0])
    assert client.close(rows[1])
    assert client.prepare(rows[0], joined=rows[1:]) is False, "now it is over"


def test_a_damaged_one_is_set_aside_and_the_others_go_on(client: JournalClient) -> None:
    _, second, _ = join(client, "e1", "e2", "e3")
    client.sql("UPDATE content SET prepared = payload WHERE row_id = 1")
    offer = client.offer()
    assert offer is not None
    assert (offer.row_id, offer.prompt.joined) == (second, ("om_2", "om_3"))
    assert client.acked("e2")
    assert states(client) == ["damaged", "delivered", "delivered"]


def test_one_of_them_answered_by_a_reply_answers_all(client: JournalClient) -> None:
    _, second = join(client, "e1", "e2")
    client.offer()
    client.acked("e1")
    assert client.close(second, RowState.ANSWERED)
    assert states(client) == ["answered"] * 2


def test_what_is_before_a_message_counts_prompts(client: JournalClient) -> None:
    join(client, "e1", "e2", "e3")
    join(client, "e4", "e5")
    found = client.history("om_e5")
    assert found is not None
    assert found.ahead == 1


def test_a_connection_gives_back_all_it_holds(client: JournalClient) -> None:
    join(client, "e1", "e2")
    client.offer("s", 1)
    client.ask(journal.Release(connection_id=ConnectionId(1), row_ids=None, reply=NOBODY))
    assert states(client) == ["ready"] * 2
