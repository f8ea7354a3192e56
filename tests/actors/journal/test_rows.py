"""Inbound rows: appended once, prepared, offered, acked, closed, pruned."""

from __future__ import annotations

import pytest

from actors.messages import journal
from protocol.ids import RowId
from protocol.routing.delivery import CLOSED_STATES, RowState
from tests.actors.journal.desk import NOBODY, Desk, append_message, prepared

# ── append ──────────────────────────────────────────────────────────────────


def test_rows_are_numbered_in_order_of_receipt(desk: Desk) -> None:
    answers = [desk.append(f"e{number}") for number in range(3)]
    assert [(answer.row_id, answer.duplicate) for answer in answers] == [
        (1, False),
        (2, False),
        (3, False),
    ]


def test_the_same_event_is_the_same_row(desk: Desk) -> None:
    first = desk.append("e1", key="om_1")
    assert desk.append("e1", key="om_other") == journal.Appended(
        row_id=first.row_id, duplicate=True
    )
    assert desk.queue().pending == 1
    assert desk.append("e2").row_id == first.row_id + 1, "a duplicate takes no number"


def test_the_same_message_under_another_event_id_is_the_same_row(desk: Desk) -> None:
    first = desk.append("e1", key="om_1")
    assert desk.append("e2", key="om_1") == journal.Appended(row_id=first.row_id, duplicate=True)


def test_two_accounts_may_see_the_same_message_each(desk: Desk) -> None:
    assert not desk.append("e1", key="om_1", account="a").duplicate
    assert not desk.append("e2", key="om_1", account="b").duplicate


def test_events_without_a_message_key_are_told_apart_by_their_id(desk: Desk) -> None:
    assert not desk.append("e1").duplicate
    assert not desk.append("e2").duplicate


def test_duplicates_within_one_batch_are_seen(desk: Desk) -> None:
    answers = desk.store.apply([append_message("e1"), append_message("e1")])
    assert [answer.duplicate for answer in answers] == [False, True]


@pytest.mark.parametrize("state", sorted(CLOSED_STATES))
def test_a_closed_row_is_still_a_duplicate(desk: Desk, state: RowState) -> None:
    row = desk.append("e1", key="om_1")
    desk.close(row.row_id, state)
    assert desk.append("e1").duplicate
    assert desk.append("e2", key="om_1").duplicate


# ── unprepared, prepare ─────────────────────────────────────────────────────


def test_unprepared_pages_through_one_account_oldest_first(desk: Desk) -> None:
    for number in range(1, 8):
        desk.append(f"e{number}", account="a" if number % 2 else "b", payload=b"%d" % number)
    first = desk.unprepared(account="a", limit=3)
    assert [(row.row_id, row.payload) for row in first] == [(1, b"1"), (3, b"3"), (5, b"5")]
    assert [row.row_id for row in desk.unprepared(account="a", after=5)] == [7]
    assert desk.unprepared(account="c") == ()


def test_an_unprepared_row_is_what_was_appended(desk: Desk) -> None:
    desk.append("e1", kind="card_action", payload=b"\x00\xff", at_ms=77)
    (row,) = desk.unprepared()
    assert (row.event_id, row.kind, row.payload, row.received_at_ms) == (
        "e1",
        "card_action",
        b"\x00\xff",
        77,
    )


def test_prepare_makes_a_received_row_ready_once(desk: Desk) -> None:
    row_id = desk.append("e1").row_id
    assert desk.prepare(row_id)
    assert desk.unprepared() == ()
    assert not desk.prepare(row_id)
    assert not desk.prepare(999)


def test_a_row_being_prepared_is_not_offered(desk: Desk) -> None:
    desk.append("e1")
    assert desk.offer() is None


def test_reads_of_a_batch_see_the_writes_before_them(desk: Desk) -> None:
    _, done, queue = desk.store.apply(
        [
            append_message("e1"),
            journal.Prepare(row_id=RowId(1), prepared=prepared(), reply=NOBODY),
            journal.Queue(reply=NOBODY),
        ]
    )
    assert done == journal.Done()
    assert queue.pending == 1


# ── offers ──────────────────────────────────────────────────────────────────


def test_an_offer_carries_what_was_prepared(desk: Desk) -> None:
    desk.ready("e1", "oc_1", "多语言 🎉")
    offer = desk.offer(epoch=7)
    assert offer is not None
    assert offer.prepared == prepared("oc_1", "多语言 🎉")
    assert (offer.row_id, offer.event_id, offer.attempt, offer.lease_epoch) == (1, "e1", 1, 7)


def test_rows_are_offered_in_order_of_receipt_whatever_the_order_of_preparing(desk: Desk) -> None:
    for number in range(1, 4):
        desk.append(f"e{number}")
    for row_id in (3, 1, 2):
        desk.prepare(row_id, f"oc_{row_id}")
    assert desk.offered_rows() == [1, 2, 3]


def test_a_row_is_offered_to_one_connection_at_a_time(desk: Desk) -> None:
    desk.ready("e1")
    assert desk.offer("s", 1) is not None
    assert desk.offer("s", 2) is None
    assert desk.offer("t", 3) is None


def test_each_offer_of_a_row_counts_one_attempt_more(desk: Desk) -> None:
    desk.ready("e1")
    attempts = []
    for connection in (1, 2, 3):
        offer = desk.offer("s", connection)
        assert offer is not None
        attempts.append(offer.attempt)
        desk.release(connection)
    assert attempts == [1, 2, 3]


def test_who_does_not_hear_unbound_chats_gets_none_of_them(desk: Desk) -> None:
    desk.ready("e1")
    assert desk.offer(unbound=False) is None


def test_a_bound_chat_is_heard_by_its_session_only(desk: Desk) -> None:
    desk.bind({"oc_1": "bound"})
    desk.ready("e1", "oc_1")
    desk.ready("e2", "oc_2")
    assert desk.offered_rows("owner") == [2]
    offer = desk.offer("bound", 2, unbound=False)
    assert offer is not None
    assert offer.row_id == 1


def test_a_bound_session_that_also_owns_hears_all_its_chats_in_one_order(desk: Desk) -> None:
    desk.bind({"oc_2": "s", "oc_4": "other"})
    for number in range(1, 5):
        desk.ready(f"e{number}", f"oc_{number}")
    assert desk.offered_rows("s") == [1, 2, 3]


def test_a_row_stays_with_the_session_it_was_dispatched_to(desk: Desk) -> None:
    desk.ready("e1", "oc_1")
    desk.bind({"oc_1": "bound"})
    desk.ready("e2", "oc_1")
    desk.bind({"oc_1": "other"})
    assert desk.offered_rows("owner") == [1]
    assert desk.offer("other", unbound=False) is None
    assert desk.offer("bound", unbound=False) is not None


def test_the_rows_of_a_chat_that_is_moved_follow_its_binding(desk: Desk) -> None:
    desk.ready("e1", "oc_1")
    desk.bind({"oc_1": "bound"}, moved={"oc_1"})
    assert desk.offer("owner") is None
    desk.bind({"oc_1": "other"}, moved={"oc_1"})
    assert desk.offer("bound", unbound=False) is None
    desk.bind({}, moved={"oc_1"})
    assert desk.offered_rows("owner") == [1]


def test_a_row_on_its_way_when_its_chat_is_moved_follows_once_it_is_released(desk: Desk) -> None:
    desk.ready("e1", "oc_1")
    desk.offer("owner", 1)
    desk.bind({"oc_1": "bound"}, moved={"oc_1"})
    desk.release(1)
    assert desk.offer("owner", 1) is None
    assert desk.offer("bound", 2, unbound=False) is not None


# ── acks and releases ───────────────────────────────────────────────────────


def test_an_ack_delivers_the_row_once(desk: Desk) -> None:
    desk.ready("e1")
    desk.offer()
    assert desk.acked("e1")
    assert not desk.acked("e1")
    assert not desk.release(1)
    assert desk.offer() is None


@pytest.mark.parametrize(("attempt", "connection"), [(2, 1), (1, 2)])
def test_an_ack_of_another_attempt_or_connection_is_ignored(
    desk: Desk, attempt: int, connection: int
) -> None:
    desk.ready("e1")
    desk.offer("s", 1)
    assert not desk.acked("e1", attempt, connection)
    assert desk.queue().in_flight == 1


def test_a_late_ack_after_a_handoff_is_ignored(desk: Desk) -> None:
    desk.ready("e1")
    desk.offer("old", 1)
    desk.release(1)
    desk.offer("new", 2)
    assert not desk.acked("e1", attempt=1, connection=1)
    assert desk.acked("e1", attempt=2, connection=2)


def test_released_rows_keep_their_place_before_later_ones_of_the_chat(desk: Desk) -> None:
    for number in range(1, 4):
        desk.ready(f"e{number}")
    desk.offer()
    desk.offer()
    desk.release(1)
    assert desk.offered_rows("t", 2) == [1, 2, 3]


def test_release_takes_from_the_connection_only_what_it_was_named(desk: Desk) -> None:
    for number in range(1, 5):
        desk.ready(f"e{number}")
    for connection in (1, 1, 2, 2):
        desk.offer("s", connection)
    assert desk.release(1, (2, 3))
    assert desk.offered_rows("t", 3) == [2]
    assert desk.release(2)
    assert desk.offered_rows("t", 4) == [3, 4]
    assert not desk.release(9)
    assert not desk.release(1, ())


def test_release_of_every_connection(desk: Desk) -> None:
    for number in range(1, 4):
        desk.ready(f"e{number}")
        desk.offer("s", number)
    assert desk.release(None, (2,))
    assert desk.queue().in_flight == 2
    assert desk.release()
    assert desk.queue().in_flight == 0
    assert not desk.release()


def test_an_acked_row_is_not_released(desk: Desk) -> None:
    desk.ready("e1")
    desk.offer()
    desk.acked("e1")
    assert not desk.release()


# ── closing ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("before", ["received", "ready", "offered", "delivered"])
@pytest.mark.parametrize("state", sorted(CLOSED_STATES))
def test_any_open_row_can_be_closed_and_stays_closed(
    desk: Desk, before: str, state: RowState
) -> None:
    row_id = desk.append("e1").row_id
    if before != "received":
        desk.prepare(row_id)
    if before in {"offered", "delivered"}:
        desk.offer()
    if before == "delivered":
        desk.acked("e1")
    assert desk.close(row_id, state, "why")
    assert not desk.close(row_id, RowState.EXPIRED)
    assert not desk.prepare(row_id)
    assert not desk.acked("e1")
    assert not desk.release()
    assert desk.offer() is None
    assert desk.queue() == journal.QueueState(
        pending=0, in_flight=0, oldest_pending_at_ms=None, damaged=state == RowState.DAMAGED
    )


def test_closing_a_row_that_is_not_there_changes_nothing(desk: Desk) -> None:
    assert not desk.close(5)


def test_a_row_is_not_closed_into_an_open_state(desk: Desk) -> None:
    row_id = desk.append("e1").row_id
    answer = desk.ask(
        journal.Close(row_id=row_id, state=RowState.READY, note=None, at_ms=1, reply=NOBODY)
    )
    assert answer == journal.Failed(reason="a row can't be closed as ready")
    assert len(desk.unprepared()) == 1


def test_an_answered_row_keeps_no_text_and_a_damaged_one_keeps_its_own(desk: Desk) -> None:
    for number, state in enumerate((RowState.ANSWERED, RowState.DAMAGED), start=1):
        row_id = desk.append(f"e{number}", payload=b"what was said").row_id
        desk.prepare(row_id)
        desk.close(row_id, state)
    kept = desk.store._db.execute(
        "SELECT row_id, payload, prepared IS NOT NULL FROM content"
    ).fetchall()
    assert kept == [(2, b"what was said", 1)]
    desk.prune(before_ms=10**15)
    assert desk.store._db.execute("SELECT count(*) FROM content").fetchone() == (0,)


# ── the queue's state ───────────────────────────────────────────────────────


def test_the_queue_counts_what_waits_and_since_when(desk: Desk) -> None:
    for number, at_ms in ((1, 300), (2, 100), (3, 200), (4, 400)):
        desk.append(f"e{number}", at_ms=at_ms)
    desk.prepare(2)
    desk.prepare(3)
    assert desk.queue() == journal.QueueState(
        pending=4, in_flight=0, oldest_pending_at_ms=100, damaged=0
    )
    desk.offer()  # row 2, the oldest that is ready
    assert desk.queue() == journal.QueueState(
        pending=3, in_flight=1, oldest_pending_at_ms=200, damaged=0
    )
    desk.acked("e2")
    assert desk.queue().in_flight == 0


def test_an_empty_queue_has_no_oldest(desk: Desk) -> None:
    assert desk.queue() == journal.QueueState(
        pending=0, in_flight=0, oldest_pending_at_ms=None, damaged=0
    )


# ── pruning ─────────────────────────────────────────────────────────────────


def test_prune_deletes_old_closed_rows_a_few_at_a_time(desk: Desk) -> None:
    for number in range(1, 6):
        desk.close(desk.append(f"e{number}", at_ms=number).row_id, RowState.REFUSED)
    assert desk.prune(before_ms=5, limit=3)
    assert desk.append("e4").duplicate, "the oldest go first"
    assert desk.prune(before_ms=5, limit=3)
    assert not desk.prune(before_ms=5, limit=3)
    assert desk.append("e5").duplicate, "received at the limit, not before it"
    assert not desk.append("e1").duplicate


def test_prune_leaves_open_rows_however_old(desk: Desk) -> None:
    desk.append("e1", at_ms=0)
    desk.ready("e2")
    assert not desk.prune(before_ms=10**15)
    assert desk.queue().pending == 2


def test_prune_deletes_what_was_delivered_long_ago_and_never_answered(desk: Desk) -> None:
    for number in (1, 2):
        desk.ready(f"e{number}")
        desk.offer()
        desk.acked(f"e{number}", at_ms=number)
    assert desk.prune(before_ms=2)
    assert not desk.prune(before_ms=2)
    assert [desk.append(f"e{number}").duplicate for number in (1, 2)] == [False, True]


def test_the_id_of_a_pruned_row_is_never_given_again(desk: Desk) -> None:
    row_id = desk.append("e1").row_id
    desk.close(row_id)
    desk.prune(before_ms=10**15)
    assert desk.append("e2").row_id > row_id
