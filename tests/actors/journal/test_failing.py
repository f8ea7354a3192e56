"""What fails: alone where it can, whole where it must, and never for long."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from actors.journal import SqliteStore
from actors.messages import journal
from protocol.ids import ConnectionId, EventId, RowId
from protocol.routing.delivery import RowState
from tests.actors.journal.client import NOBODY, JournalClient, append_message, entry, prompt


@pytest.fixture
def on_disk(path: Path) -> Iterator[JournalClient]:
    with closing(SqliteStore.open(path)) as store:
        yield JournalClient(store)


def fill(client: JournalClient, *, pages_left: int) -> None:
    """Let the disk be as good as full."""
    db = client.db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages + pages_left}")


def free_space(client: JournalClient) -> None:
    client.db.execute("PRAGMA max_page_count = 1000000")


# ── the commit fails ────────────────────────────────────────────────────────


def test_a_full_disk_fails_what_needs_space_and_nothing_else(on_disk: JournalClient) -> None:
    on_disk.ready("e1")
    on_disk.offer()
    fill(on_disk, pages_left=1)
    too_large, ack, queue = on_disk.store.apply(
        [
            append_message("e2", payload=bytes(100_000)),
            journal.Acked(
                event_id=EventId("e1"),
                attempt=1,
                connection_id=ConnectionId(1),
                at_ms=1,
                reply=NOBODY,
            ),
            journal.Queue(reply=NOBODY),
        ]
    )
    assert isinstance(too_large, journal.Failed)
    assert "full" in too_large.reason
    assert ack == journal.Done()
    assert queue.in_flight == 0
    free_space(on_disk)
    assert not on_disk.append("e2", payload=bytes(100_000)).duplicate, "nothing of it happened"


def test_a_batch_that_finds_the_disk_full_fails_whole_and_the_next_one_succeeds(
    on_disk: JournalClient,
) -> None:
    fill(on_disk, pages_left=0)
    batch = [append_message(f"e{number}", payload=bytes(20_000)) for number in range(5)]
    answers = on_disk.store.apply(batch)
    assert [type(answer) for answer in answers] == [journal.Failed] * 5
    assert on_disk.queue().pending == 0
    free_space(on_disk)
    assert [answer.duplicate for answer in on_disk.store.apply(batch)] == [False] * 5


def test_a_writer_in_the_way_fails_the_batch_after_a_bounded_wait(
    on_disk: JournalClient, path: Path
) -> None:
    on_disk.db.execute("PRAGMA busy_timeout = 10")
    batch = [append_message("e1"), append_message("e2")]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = on_disk.store.apply(batch)
        assert answers == [journal.Failed(reason="database is locked")] * 2
    assert [answer.duplicate for answer in on_disk.store.apply(batch)] == [False, False]
    assert on_disk.store.statistics().reopened == 0


def test_a_reader_is_never_in_the_way(on_disk: JournalClient, path: Path) -> None:
    on_disk.append("e1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM inbound").fetchone() == (1,)
        assert not on_disk.append("e2").duplicate
        assert other.execute("SELECT count(*) FROM inbound").fetchone() == (1,)


def test_a_connection_that_broke_is_replaced_for_the_next_batch(on_disk: JournalClient) -> None:
    on_disk.ready("e1")
    on_disk.offer()
    on_disk.db.close()
    failed = on_disk.ask(journal.Queue(reply=NOBODY))
    assert isinstance(failed, journal.Failed)
    assert on_disk.queue().in_flight == 1, "a new connection is no new start"
    statistics = on_disk.store.statistics()
    assert (statistics.reopened, on_disk.store.generation) == (1, 1)


def test_when_the_file_itself_fails_the_rest_of_a_batch_is_not_tried(
    on_disk: JournalClient,
) -> None:
    """A disk that hangs before it fails must not be asked once for each message."""
    db, issued = on_disk.db, [""]
    db.set_trace_callback(issued.append)
    # SQLite ends the whole transaction for an interrupted INSERT, as for an I/O error.
    db.set_progress_handler(lambda: issued[-1].startswith("INSERT INTO inbound"), 1)
    batch = [append_message(f"e{number}") for number in range(20)]
    answers = on_disk.store.apply(batch)
    assert answers == [journal.Failed(reason="interrupted")] * 20
    assert issued.count("BEGIN IMMEDIATE") == 2, "together, then the first alone"
    assert [answer.duplicate for answer in on_disk.store.apply(batch)] == [False] * 20


def test_a_journal_that_was_moved_away_is_used_again_when_it_is_back(
    on_disk: JournalClient, path: Path, tmp_path: Path
) -> None:
    on_disk.append("e1")
    on_disk.db.close()  # orderly: its -wal is gone
    path.rename(tmp_path / "elsewhere")
    for _ in range(2):
        assert isinstance(on_disk.ask(append_message("e2")), journal.Failed)
    assert not path.exists(), "no empty one is made in its place"
    (tmp_path / "elsewhere").rename(path)
    assert on_disk.append("e1").duplicate
    assert not on_disk.append("e2").duplicate


# ── one message fails ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "poison",
    [
        append_message("\ud800"),
        append_message("e9", at_ms=2**70),
        append_message("e9", payload=None),  # type: ignore[arg-type]  # what a bug might send
    ],
    ids=["no text", "no time", "no payload"],
)
def test_a_message_that_cannot_be_stored_fails_alone(
    client: JournalClient, poison: journal.Append
) -> None:
    before, bad, after = client.store.apply([append_message("e1"), poison, append_message("e2")])
    assert isinstance(bad, journal.Failed)
    assert bad.reason
    assert not before.duplicate
    assert not after.duplicate
    assert before.row_id < after.row_id
    assert client.queue().pending == 2
    assert client.store.statistics().failed == 1


def test_half_of_a_failing_message_is_undone(client: JournalClient) -> None:
    client.bind({"oc_1": "a"})
    lease = replace(client.lease(), epoch=5, bindings={"oc_1": "\ud800"})
    answer = client.ask(journal.SaveLease(lease=lease, reply=NOBODY))
    assert isinstance(answer, journal.Failed)
    assert (client.lease().epoch, client.lease().bindings) == (0, {"oc_1": "a"})


# ── one row is damaged ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE content SET prepared = x'ff'",
        "UPDATE content SET prepared = x''",
        "UPDATE content SET prepared = x'80'",
        "UPDATE content SET prepared = NULL",
        "UPDATE content SET prepared = 'text'",
        "DELETE FROM content",
        "UPDATE inbound SET account = cast(x'ff' AS TEXT)",
    ],
)
def test_a_damaged_row_is_set_aside_and_the_next_one_offered(
    in_memory: JournalClient, damage: str
) -> None:
    for number in range(1, 4):
        in_memory.ready(f"e{number}")
    in_memory.db.execute(f"{damage} WHERE row_id IN (1, 2)")
    assert in_memory.offered_rows() == [3]
    queue = in_memory.queue()
    assert (queue.pending, queue.in_flight, queue.damaged) == (0, 1, 2)
    assert in_memory.append("e1").duplicate
    notes = in_memory.db.execute("SELECT note FROM inbound WHERE state = 'damaged'").fetchall()
    assert all(note for (note,) in notes)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE content SET payload = 'text'",
        "DELETE FROM content",
        "UPDATE inbound SET kind = 'unknown'",
        "UPDATE inbound SET received_at = 'noon'",
        "UPDATE inbound SET event_id = x'ff' || row_id",
    ],
)
def test_a_row_damaged_before_it_was_prepared_does_not_hide_the_others(
    in_memory: JournalClient, damage: str
) -> None:
    for number in range(1, 6):
        in_memory.append(f"e{number}")
    in_memory.db.execute(f"{damage} WHERE row_id IN (1, 2, 4)")
    assert [row.row_id for row in in_memory.unprepared(limit=2)] == [3, 5]
    assert in_memory.queue().damaged == 3
    assert in_memory.queue().pending == 2


def test_what_cannot_be_stored_as_prepared_is_set_aside_not_tried_for_ever(
    in_memory: JournalClient,
) -> None:
    row_id = in_memory.append("e1").row_id
    assert not in_memory.prepare(row_id, content="\ud800")
    assert in_memory.unprepared() == ()
    assert in_memory.queue().damaged == 1


def test_only_a_row_being_prepared_is_set_aside_for_it(in_memory: JournalClient) -> None:
    row_id = in_memory.ready("e1")
    bad = prompt(content="\ud800")
    answer = in_memory.ask(
        journal.Prepare(rows=(journal.PreparedRow(row_id=RowId(row_id), prompt=bad),), reply=NOBODY)
    )
    assert answer == journal.Done(changed=False)
    assert in_memory.offered_rows() == [row_id]


def test_a_damaged_row_is_pruned_like_any_closed_one(in_memory: JournalClient) -> None:
    in_memory.close(in_memory.append("e1").row_id, RowState.DAMAGED)
    assert in_memory.queue().damaged == 1
    in_memory.prune(before_ms=10**15)
    assert in_memory.queue().damaged == 0


def test_a_damaged_card_is_closed_as_lost_and_the_others_are_listed(
    in_memory: JournalClient,
) -> None:
    for card in ("c1", "c2"):
        in_memory.open_card(entry(card))
    in_memory.db.execute("UPDATE card SET text = cast(x'ff' AS TEXT) WHERE card_id = 'c1'")
    assert [card.card_id for card in in_memory.open_cards()] == ["c2"]
    assert not in_memory.close_card("c1"), "closed already"
