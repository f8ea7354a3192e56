"""StoredEvent rows: appended once, prepared, offered, acked, closed, pruned."""

from __future__ import annotations

import pytest

from actors.messages import journal
from protocol.ids import RowId, SessionId
from protocol.routing.delivery import CLOSED_STATES, RowState
from tests.actors.journal.client import NOBODY, JournalClient, append_message, prompt

# ── append ──────────────────────────────────────────────────────────────────


def test_rows_are_numbered_in_order_of_receipt(client: JournalClient) -> None:
    answers = [client.append(f"e{number}") for number in range(3)]
    assert [(answer.row_id, answer.duplicate) for answer in answers] == [
        (1, False),
        (2, False),
        (3, False),
    ]


def test_the_same_event_is_the_same_row(client: JournalClient) -> None:
    first = client.append("e1", key="om_1")
    assert client.append("e1", key="om_other") == journal.Appended(
        row_id=first.row_id, duplicate=True
    )
    assert client.queue().pending == 1
    assert client.append("e2").row_id == first.row_id + 1, "a duplicate takes no number"


def test_the_same_message_under_another_event_id_is_the_same_row(client: JournalClient) -> None:
    first = client.append("e1", key="om_1")
    assert client.append("e2", key="om_1") == journal.Appended(row_id=first.row_id, duplicate=True)


def test_two_accounts_may_see_the_same_message_each(client: JournalClient) -> None:
    assert not client.append("e1", key="om_1", account="a").duplicate
    assert not client.append("e2", key="om_1", account="b").duplicate


def test_events_without_a_message_key_are_distinguished_by_their_id(client: JournalClient) -> None:
    assert not client.append("e1").duplicate
    assert not client.append("e2").duplicate


def test_duplicates_within_one_batch_are_seen(client: JournalClient) -> None:
    answers = client.store.apply([append_message("e1"), append_message("e1")])
    assert [answer.duplicate for answer in answers] == [False, True]


@pytest.mark.parametrize("state", sorted(CLOSED_STATES))
def test_a_closed_row_is_still_a_duplicate(client: JournalClient, state: RowState) -> None:
    row = client.append("e1", key="om_1")
    client.close(row.row_id, state)
    assert client.append("e1").duplicate
    assert client.append("e2", key="om_1").duplicate


# ── unprepared, prepare ─────────────────────────────────────────────────────


def test_unprepared_pages_through_one_account_oldest_first(client: JournalClient) -> None:
    for number in range(1, 8):
        client.append(f"e{number}", account="a" if number % 2 else "b", payload=b"%d" % number)
    first = client.unprepared(account="a", limit=3)
    assert [(row.row_id, row.payload) for row in first] == [(1, b"1"), (3, b"3"), (5, b"5")]
    assert [row.row_id for row in client.unprepared(account="a", after=5)] == [7]
    assert client.unprepared(account="c") == ()


def test_an_unprepared_row_is_what_was_appended(client: JournalClient) -> None:
    client.append("e1", kind="card_action", payload=b"\x00\xff", at_ms=77)
    (row,) = client.unprepared()
    assert (row.event_id, row.kind, row.payload, row.received_at_ms) == (
        "e1",
        "card_action",
        b"\x00\xff",
        77,
    )


def test_prepare_makes_a_received_row_ready_once(client: JournalClient) -> None:
    row_id = client.append("e1").row_id
    assert client.prepare(row_id)
    assert client.unprepared() == ()
    assert not client.prepare(row_id)
    assert not client.prepare(999)


def test_a_row_being_prepared_is_not_offered(client: JournalClient) -> None:
    client.append("e1")
    assert client.offer() is None


def test_reads_of_a_batch_see_the_writes_before_them(client: JournalClient) -> None:
    _, done, queue = client.store.apply(
        [
            append_message("e1"),
            journal.Prepare(
                rows=(journal.PreparedRow(row_id=RowId(1), prompt=prompt()),), reply=NOBODY
            ),
            journal.Queue(reply=NOBODY),
        ]
    )
    assert done == journal.Done()
    assert queue.pending == 1


# ── offers ──────────────────────────────────────────────────────────────────


def test_an_offer_carries_what_was_prepared(client: JournalClient) -> None:
    client.ready("e1", "oc_1", "多语言 🎉")
    offer = client.offer(epoch=7)
    assert offer is not None
    assert offer.prompt == prompt("oc_1", "多语言 🎉")
    assert (offer.row_id, offer.event_id, offer.attempt, offer.lease_epoch) == (1, "e1", 1, 7)


def test_rows_are_offered_in_order_of_receipt_whatever_the_order_of_preparing(
    client: JournalClient,
) -> None:
    for number in range(1, 4):
        client.append(f"e{number}")
    for row_id in (3, 1, 2):
        client.prepare(row_id, f"oc_{row_id}")
    assert client.offered_rows() == [1, 2, 3]


def test_an_offer_names_whether_another_row_is_ready_for_its_session(
    client: JournalClient,
) -> None:
    for number in (1, 2):
        client.ready(f"e{number}")
    more = [offer.more for offer in (client.offer(), client.offer()) if offer is not None]
    assert more == [True, False]


def test_a_session_without_turns_is_offered_several_rows_in_one_commit(
    client: JournalClient,
) -> None:
    for number in range(1, 6):
        client.ready(f"e{number}", f"oc_{number % 2}")
    first = client.offers(joins=False, rows_max=3)
    second = client.offers(joins=False, rows_max=3)
    assert [[one.row_id for one in offers] for offers in (first, second)] == [[1, 2, 3], [4, 5]]
    assert (first[-1].more, second[-1].more) == (True, False)
    assert client.offers(joins=False, rows_max=3) == ()


def test_a_row_is_offered_to_one_connection_at_a_time(client: JournalClient) -> None:
    client.ready("e1")
    assert client.offer("s", 1) is not None
    assert client.offer("s", 2) is None
    assert client.offer("t", 3) is None


def test_each_offer_of_a_row_counts_one_attempt_more(client: JournalClient) -> None:
    client.ready("e1")
    attempts = []
    for connection in (1, 2, 3):
        offer = client.offer("s", connection)
        assert offer is not None
        attempts.append(offer.attempt)
        client.release(connection)
    assert attempts == [1, 2, 3]


def test_who_takes_no_unbound_chats_gets_none_of_them(client: JournalClient) -> None:
    client.ready("e1")
    assert client.offer(unbound=False) is None


def test_a_bound_chat_is_routed_to_its_session_only(client: JournalClient) -> None:
    client.bind({"oc_1": "bound"})
    client.ready("e1", "oc_1")
    client.ready("e2", "oc_2")
    assert client.offered_rows("owner") == [2]
    offer = client.offer("bound", 2, unbound=False)
    assert offer is not None
    assert offer.row_id == 1


def test_a_bound_session_that_also_owns_is_routed_all_its_chats_in_one_order(
    client: JournalClient,
) -> None:
    client.bind({"oc_2": "s", "oc_4": "other"})
    for number in range(1, 5):
        client.ready(f"e{number}", f"oc_{number}")
    assert client.offered_rows("s") == [1, 2, 3]


def test_a_row_stays_with_the_session_it_was_dispatched_to(client: JournalClient) -> None:
    client.ready("e1", "oc_1")
    client.bind({"oc_1": "bound"})
    client.ready("e2", "oc_1")
    client.bind({"oc_1": "other"})
    assert client.offered_rows("owner") == [1]
    assert client.offer("other", unbound=False) is None
    assert client.offer("bound", unbound=False) is not None


def test_the_rows_of_a_chat_that_is_moved_follow_its_binding(client: JournalClient) -> None:
    client.ready("e1", "oc_1")
    client.bind({"oc_1": "bound"}, moved={"oc_1"})
    assert client.offer("owner") is None
    client.bind({"oc_1": "other"}, moved={"oc_1"})
    assert client.offer("bound", unbound=False) is None
    client.bind({}, moved={"oc_1"})
    assert client.offered_rows("owner") == [1]


def test_of_a_moved_chat_the_rows_of_a_session_that_keeps_its_own_stay(
    client: JournalClient,
) -> None:
    client.ready("e1", "oc_1")
    client.bind({"oc_1": "bound"})
    client.ready("e2", "oc_1")
    client.bind({"oc_1": "away"})
    client.ready("e3", "oc_1")
    client.bind({"oc_1": "other"}, moved={"oc_1"}, staying={SessionId("bound"), None})
    assert client.offered_rows("owner") == [1]
    assert client.offered_rows("bound", unbound=False) == [2]
    assert client.offered_rows("other", unbound=False) == [3]


def test_a_topic_is_routed_by_its_own_binding_else_by_that_of_its_chat(
    client: JournalClient,
) -> None:
    client.bind({"oc_1": "chat", "oc_1#omt_1": "topic"})
    client.ready("e1", "oc_1#omt_1")
    client.ready("e2", "oc_1#omt_2")
    client.ready("e3", "oc_1")
    client.ready("e4", "oc_2#omt_3")
    dispatched = client.append("e5").row_id
    client.dispatch(dispatched, "oc_1#omt_1")
    client.prepare(dispatched, "oc_1#omt_1")
    assert client.offered_rows("owner") == [4]
    assert client.offered_rows("topic", unbound=False) == [1, 5]
    assert client.offered_rows("chat", unbound=False) == [2, 3]


def test_the_rows_of_a_topic_move_with_what_it_follows(client: JournalClient) -> None:
    client.bind({"oc_1": "chat", "oc_1#omt_1": "topic"})
    for number, place in enumerate(("oc_1#omt_1", "oc_1#omt_2", "oc_1"), 1):
        client.ready(f"e{number}", place)
    client.bind({"oc_1": "other", "oc_1#omt_1": "topic"}, moved={"oc_1"})
    assert client.offer("chat", unbound=False) is None
    assert client.offered_rows("other", unbound=False) == [2, 3]
    client.bind({"oc_1": "other"}, moved={"oc_1#omt_1"})
    assert client.offer("topic", unbound=False) is None
    assert client.offered_rows("other", unbound=False) == [1]


def test_a_row_on_its_way_when_its_chat_is_moved_follows_once_it_is_released(
    client: JournalClient,
) -> None:
    client.ready("e1", "oc_1")
    client.offer("owner", 1)
    client.bind({"oc_1": "bound"}, moved={"oc_1"})
    client.release(1)
    assert client.offer("owner", 1) is None
    assert client.offer("bound", 2, unbound=False) is not None


# ── acks and releases ───────────────────────────────────────────────────────


def test_an_ack_delivers_the_row_once(client: JournalClient) -> None:
    client.ready("e1")
    client.offer()
    assert client.acked("e1")
    assert not client.acked("e1")
    assert not client.release(1)
    assert client.offer() is None


@pytest.mark.parametrize(("attempt", "connection"), [(2, 1), (1, 2)])
def test_an_ack_of_another_attempt_or_connection_is_ignored(
    client: JournalClient, attempt: int, connection: int
) -> None:
    client.ready("e1")
    client.offer("s", 1)
    assert not client.acked("e1", attempt, connection)
    assert client.queue().in_flight == 1


def test_a_late_ack_after_a_handoff_is_ignored(client: JournalClient) -> None:
    client.ready("e1")
    client.offer("old", 1)
    client.release(1)
    client.offer("new", 2)
    assert not client.acked("e1", attempt=1, connection=1)
    assert client.acked("e1", attempt=2, connection=2)


def test_released_rows_keep_their_place_before_later_ones_of_the_chat(
    client: JournalClient,
) -> None:
    for number in range(1, 4):
        client.ready(f"e{number}")
    client.offer()
    client.offer()
    client.release(1)
    assert client.offered_rows("t", 2) == [1, 2, 3]


def test_release_takes_from_the_connection_only_what_it_was_named(client: JournalClient) -> None:
    for number in range(1, 5):
        client.ready(f"e{number}")
    for connection in (1, 1, 2, 2):
        client.offer("s", connection)
    assert client.release(1, (2, 3))
    assert client.offered_rows("t", 3) == [2]
    assert client.release(2)
    assert client.offered_rows("t", 4) == [3, 4]
    assert not client.release(9)
    assert not client.release(1, ())


def test_release_of_every_connection(client: JournalClient) -> None:
    for number in range(1, 4):
        client.ready(f"e{number}")
        client.offer("s", number)
    assert client.release(None, (2,))
    assert client.queue().in_flight == 2
    assert client.release()
    assert client.queue().in_flight == 0
    assert not client.release()


def test_an_acked_row_is_not_released(client: JournalClient) -> None:
    client.ready("e1")
    client.offer()
    client.acked("e1")
    assert not client.release()


# ── closing ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("before", ["received", "ready", "offered", "delivered"])
@pytest.mark.parametrize("state", sorted(CLOSED_STATES))
def test_any_open_row_can_be_closed_and_stays_closed(
    client: JournalClient, before: str, state: RowState
) -> None:
    row_id = client.append("e1").row_id
    if before != "received":
        client.prepare(row_id)
    if before in {"offered", "delivered"}:
        client.offer()
    if before == "delivered":
        client.acked("e1")
    assert client.close(row_id, state, "why")
    assert not client.close(row_id, RowState.EXPIRED)
    assert not client.prepare(row_id)
    assert not client.acked("e1")
    assert not client.release()
    assert client.offer() is None
    assert client.queue() == journal.QueueState(
        pending=0, in_flight=0, oldest_pending_at_ms=None, damaged=state == RowState.DAMAGED
    )


def test_closing_a_row_that_is_not_there_changes_nothing(client: JournalClient) -> None:
    assert not client.close(5)


def test_a_row_is_not_closed_into_an_open_state(client: JournalClient) -> None:
    row_id = client.append("e1").row_id
    answer = client.ask(
        journal.Close(row_id=row_id, state=RowState.READY, note=None, at_ms=1, reply=NOBODY)
    )
    assert answer == journal.Failed(reason="a row can't be closed as ready")
    assert len(client.unprepared()) == 1


def test_an_answered_row_keeps_no_text_and_a_damaged_one_keeps_its_own(
    client: JournalClient,
) -> None:
    for number, state in enumerate((RowState.ANSWERED, RowState.DAMAGED), start=1):
        row_id = client.append(f"e{number}", payload=b"the text").row_id
        client.prepare(row_id)
        client.close(row_id, state)
    kept = client.sql("SELECT row_id, payload, prepared IS NOT NULL FROM content")
    assert kept == [(2, b"the text", 1)]
    client.prune(before_ms=10**15)
    assert client.sql("SELECT count(*) FROM content") == [(0,)]


# ── the queue's state ───────────────────────────────────────────────────────


def test_the_queue_counts_what_waits_and_since_when(client: JournalClient) -> None:
    for number, at_ms in ((1, 300), (2, 100), (3, 200), (4, 400)):
        client.append(f"e{number}", at_ms=at_ms)
    client.prepare(2)
    client.prepare(3)
    assert client.queue() == journal.QueueState(
        pending=4, in_flight=0, oldest_pending_at_ms=100, damaged=0
    )
    client.offer()  # row 2, the oldest that is ready
    assert client.queue() == journal.QueueState(
        pending=3, in_flight=1, oldest_pending_at_ms=200, damaged=0
    )
    client.acked("e2")
    assert client.queue().in_flight == 0


def test_an_empty_queue_has_no_oldest(client: JournalClient) -> None:
    assert client.queue() == journal.QueueState(
        pending=0, in_flight=0, oldest_pending_at_ms=None, damaged=0
    )


# ── pruning ─────────────────────────────────────────────────────────────────


def test_prune_deletes_old_closed_rows_a_few_at_a_time(client: JournalClient) -> None:
    for number in range(1, 6):
        client.close(client.append(f"e{number}", at_ms=number).row_id, RowState.REFUSED)
    assert client.prune(before_ms=5, limit=3)
    assert client.append("e4").duplicate, "the oldest go first"
    assert client.prune(before_ms=5, limit=3)
    assert not client.prune(before_ms=5, limit=3)
    assert client.append("e5").duplicate, "received at the limit, not before it"
    assert not client.append("e1").duplicate


def test_prune_leaves_open_rows_however_old(client: JournalClient) -> None:
    client.append("e1", at_ms=0)
    client.ready("e2")
    assert not client.prune(before_ms=10**15)
    assert client.queue().pending == 2


def test_prune_deletes_what_was_delivered_long_ago_and_never_answered(
    client: JournalClient,
) -> None:
    for number in (1, 2):
        client.ready(f"e{number}")
        client.offer()
        client.acked(f"e{number}", at_ms=number)
    assert client.prune(before_ms=2)
    assert not client.prune(before_ms=2)
    assert [client.append(f"e{number}").duplicate for number in (1, 2)] == [False, True]


def test_the_id_of_a_pruned_row_is_never_given_again(client: JournalClient) -> None:
    row_id = client.append("e1").row_id
    client.close(row_id)
    client.prune(before_ms=10**15)
    assert client.append("e2").row_id > row_id
