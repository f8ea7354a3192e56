"""What an event costs does not depend on how much is stored.

Measured in steps of SQLite's virtual machine, which are the same on every machine,
and by asking its planner about each statement the store has ever issued.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing

import pytest

from actors.journal import SqliteStore
from protocol.routing.delivery import RowState
from tests.actors.journal.client import GROWING_TABLES, JournalClient, append_message, entry
from tests.kit.sizes import examples

FEW, MANY = 200, examples(4_000)
BATCH = 1_000
STEPS_COUNTED_BY = 1

WALKED_WHOLE = {
    "inbound_pending",
    "inbound_offered",
    "inbound_claimed",
    "inbound_damaged",
    "card_open",
}
"""Partial indexes a statement may walk from end to end: they hold what is under way."""


def append_many(client: JournalClient, count: int, name: str) -> None:
    for start in range(0, count, BATCH):
        client.store.apply(
            [
                append_message(f"{name}{number}", key=f"om_{name}{number}")
                for number in range(start, min(start + BATCH, count))
            ]
        )


def with_closed_rows(client: JournalClient, count: int) -> None:
    append_many(client, count, "closed")
    client.db.execute("UPDATE inbound SET state = 'answered', chat_id = 'oc_1'")


def with_delivered_rows(client: JournalClient, count: int) -> None:
    append_many(client, count, "delivered")
    client.db.execute("UPDATE inbound SET state = 'delivered', chat_id = 'oc_1'")


def with_rows_of_a_session_that_is_away(client: JournalClient, count: int) -> None:
    client.bind({"oc_away": "away"})
    append_many(client, count, "away")
    client.db.execute("UPDATE inbound SET state = 'ready', chat_id = 'oc_away', routed_to = 'away'")


def with_closed_cards(client: JournalClient, count: int) -> None:
    client.db.executemany(
        "INSERT INTO card (card_id, account, chat_id, turn_id, session_id, session_alias,"
        " message_id, text, opened_at, closed_at, outcome) VALUES"
        " (?, 'default', 'oc_1', 'turn', 's', 'blue', NULL, '', 1, 2, 'lost')",
        ((f"closed{number}",) for number in range(count)),
    )


def everyday(client: JournalClient) -> None:
    """One of everything that happens to one event, and to one turn."""
    for number in (1, 2, 3):
        client.append(f"e{number}", key=f"om_{number}")
    client.append("e1")
    client.append("e9", key="om_1")
    first, *_ = client.unprepared(limit=2)
    for row_id in range(first.row_id, first.row_id + 3):
        client.prepare(row_id)
    for connection in (1, 2):
        offer = client.offer("s", connection)
        assert offer is not None
    client.acked("e1", 1, 1)
    client.release(2, (first.row_id + 1,))
    client.release(2)
    client.release()
    for row_id in range(first.row_id, first.row_id + 3):
        client.close(row_id)
    assert client.history() is not None
    assert client.history("om_1") is not None
    client.lease()
    client.open_card(entry("c1"))
    client.note_card("c1", message="om_1", text="so far")
    client.open_cards()
    client.close_card("c1")


def steps_of(client: JournalClient, act: Callable[[JournalClient], object]) -> int:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += STEPS_COUNTED_BY
        return 0

    client.db.set_progress_handler(count, STEPS_COUNTED_BY)
    act(client)
    client.db.set_progress_handler(None, 0)
    return steps


@pytest.mark.parametrize(
    "fill",
    [
        with_closed_rows,
        with_delivered_rows,
        with_rows_of_a_session_that_is_away,
        with_closed_cards,
    ],
)
def test_an_event_costs_the_same_however_much_is_stored(
    fill: Callable[[JournalClient, int], None],
) -> None:
    steps = {}
    for count in (FEW, MANY):
        with closing(SqliteStore.open(None)) as store:
            client = JournalClient(store)
            fill(client, count)
            steps[count] = steps_of(client, everyday)
    assert steps[MANY] <= steps[FEW] * 1.05, steps


@pytest.mark.parametrize("fill", [with_closed_rows, with_delivered_rows])
def test_counting_what_waits_does_not_count_what_is_done(
    fill: Callable[[JournalClient, int], None],
) -> None:
    steps = {}
    for count in (FEW, MANY):
        with closing(SqliteStore.open(None)) as store:
            client = JournalClient(store)
            fill(client, count)
            client.append("waiting")
            steps[count] = steps_of(client, JournalClient.queue)
    assert steps[MANY] <= steps[FEW] * 1.05, steps


def test_pruning_costs_what_it_deletes() -> None:
    steps = {}
    for count in (FEW, MANY):
        with closing(SqliteStore.open(None)) as store:
            client = JournalClient(store)
            with_closed_rows(client, count)
            steps[count] = steps_of(client, lambda client: client.prune(10**15, limit=50))
    assert steps[MANY] <= steps[FEW] * 1.05, steps


def test_an_offer_costs_the_same_however_many_chats_are_bound() -> None:
    steps = {}
    for count in (FEW, MANY):
        with closing(SqliteStore.open(None)) as store:
            client = JournalClient(store)
            client.bind({f"oc_b{number}": f"s{number % 7}" for number in range(count)})
            client.ready("e1")
            steps[count] = steps_of(client, JournalClient.offer)
    assert steps[MANY] <= steps[FEW] * 1.05, steps


def test_no_statement_scans_a_table_that_grows() -> None:
    with closing(SqliteStore.open(None)) as store:
        db, client = store._db, JournalClient(store)
        issued: set[str] = set()
        db.set_trace_callback(issued.add)
        everyday(client)
        client.bind({"oc_1": "s"})
        client.bind({})
        client.queue()
        client.append("damaged")
        client.prepare(4, content="\ud800")
        client.close(1, RowState.REFUSED)
        client.prune(1)
        db.set_trace_callback(None)
        planned = [sql for sql in issued if re.match("SELECT|INSERT|UPDATE|DELETE", sql)]
        scans = {
            (detail, sql)
            for sql in planned
            for *_, detail in db.execute(f"EXPLAIN QUERY PLAN {sql}")
            if detail.startswith("SCAN") and detail.split()[1] in GROWING_TABLES
        }
    assert len(planned) > 30, "the store was not traced"
    assert [(detail, sql) for detail, sql in scans if detail.split()[-1] not in WALKED_WHOLE] == []


NEW_ROW = (
    "INSERT INTO inbound (account, event_id, kind, state, received_at, changed_at)"
    " VALUES ('a', 'e', 'message', 'received', 1, 1)"
)


@pytest.mark.parametrize(
    "change",
    [
        NEW_ROW,
        "UPDATE inbound SET state = 'ready', chat_id = 'oc_1' WHERE row_id = 1",
        "DELETE FROM inbound WHERE row_id = 1",
    ],
)
def test_no_index_makes_a_table_for_its_condition_at_each_change_of_a_row(change: str) -> None:
    with closing(SqliteStore.open(None)) as store:
        operations = {name for _, name, *_ in store._db.execute(f"EXPLAIN {change}")}
    assert "IdxInsert" in operations or "IdxDelete" in operations
    assert not {name for name in operations if name.startswith("OpenEphemeral")}


def test_a_chat_s_open_rows_are_found_without_its_closed_ones() -> None:
    steps = {}
    for count in (FEW, MANY):
        with closing(SqliteStore.open(None)) as store:
            client = JournalClient(store)
            with_closed_rows(client, count)
            client.ready("e1")
            steps[count] = steps_of(client, lambda client: client.bind({"oc_1": "s"}))
    assert steps[MANY] <= steps[FEW] * 1.05, steps


def test_the_start_s_own_statement_walks_the_offered_rows_only() -> None:
    with closing(SqliteStore.open(None)) as store:
        details = [
            detail
            for *_, detail in store._db.execute(
                "EXPLAIN QUERY PLAN UPDATE inbound SET state = 'ready', connection_id = NULL"
                " WHERE state = 'offered'"
            )
        ]
    assert details == ["SCAN inbound USING INDEX inbound_offered"]
