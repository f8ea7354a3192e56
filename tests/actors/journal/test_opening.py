"""Opening a journal: private, counted, checked; foreign and newer files left alone."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from actors.journal import (
    JournalDamaged,
    JournalError,
    JournalForeign,
    JournalNewer,
    JournalUnavailable,
    SqliteStore,
    problems_of,
    schema,
)
from actors.journal.sqlite import opening
from protocol.ids import SessionId
from protocol.routing.lease import LeaseState
from tests.actors.journal.client import JournalClient, entry


@contextmanager
def opened(path: Path) -> Iterator[JournalClient]:
    with closing(SqliteStore.open(path)) as store:
        yield JournalClient(store)


def bytes_of(path: Path) -> dict[str, bytes]:
    """What lies on disk, without the -shm, which is a cache of SQLite's own."""
    return {
        file.name: file.read_bytes()
        for file in path.parent.iterdir()
        if not file.name.endswith("-shm")
    }


def kill_while_open(path: Path, *statements: str) -> None:
    """Let another process write to the file and die, leaving its -wal."""
    code = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA journal_mode = WAL')\n"
        "for statement in sys.argv[2:]: db.execute(statement)\n"
        "os._exit(9)\n"
    )
    died = subprocess.run([sys.executable, "-c", code, path, *statements], check=False)
    assert died.returncode == 9
    assert path.with_name(f"{path.name}-wal").stat().st_size


# ── a sound journal ─────────────────────────────────────────────────────────


def test_generation_counts_the_opens_from_one(path: Path) -> None:
    generations = []
    for _ in range(3):
        with opened(path) as client:
            generations.append(client.store.generation)
    assert generations == [1, 2, 3]


def test_a_start_counts_even_if_the_daemon_is_killed_at_once(path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from actors.journal import SqliteStore\n"
        "store = SqliteStore.open(pathlib.Path(sys.argv[1]))\n"
        "os.write(1, b'%d' % store.generation)\n"
        "os._exit(9)\n"
    )
    for expected in (b"1", b"2"):
        died = subprocess.run(
            [sys.executable, "-c", code, path], check=False, stdout=subprocess.PIPE
        )
        assert (died.returncode, died.stdout) == (9, expected)


def test_everything_is_there_after_a_restart(path: Path) -> None:
    lease = LeaseState(owner=SessionId("o"), epoch=3)
    with opened(path) as client:
        client.append("received")
        client.ready("ready")
        client.save_lease(lease)
        client.open_card(entry("c1"))
    with opened(path) as client:
        assert [row.event_id for row in client.unprepared()] == ["received"]
        assert client.offered_rows() == [2]
        assert client.lease() == lease
        assert client.open_cards() == (entry("c1"),)


def test_offered_rows_wait_again_after_a_restart_and_count_on(path: Path) -> None:
    with opened(path) as client:
        client.ready("acked")
        client.ready("not acked")
        client.offer()
        client.offer()
        client.acked("acked")
    with opened(path) as client:
        assert client.queue().pending == 1
        assert not client.acked("not acked", attempt=1, connection=1)
        offer = client.offer()
        assert offer is not None
        assert (offer.event_id, offer.attempt) == ("not acked", 2)
        assert client.offer() is None


def test_the_files_are_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(path) as client:
            client.append("e1")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"larkd.db": 0o600, "larkd.db-wal": 0o600, "larkd.db-shm": 0o600}


def test_a_journal_others_could_read_is_made_private(path: Path) -> None:
    with opened(path):
        pass
    path.chmod(0o644)
    with opened(path):
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_every_commit_is_synced_to_the_disk(path: Path) -> None:
    with opened(path) as client:
        db = client.db
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"


def test_an_orderly_close_leaves_one_file(path: Path) -> None:
    with opened(path) as client:
        client.append("e1")
    assert [file.name for file in path.parent.iterdir()] == ["larkd.db"]


def test_a_path_may_hold_what_means_something_in_a_uri(tmp_path: Path) -> None:
    path = tmp_path / "50% off? #1 日志.db"
    for expected in (1, 2):
        with opened(path) as client:
            assert client.store.generation == expected
    assert problems_of(path) == ()


# ── older and newer ─────────────────────────────────────────────────────────


def test_an_older_journal_is_brought_up_to_date_and_keeps_what_it_holds(path: Path) -> None:
    with opened(path) as client:
        client.append("e1")
    newer = (*schema.MIGRATIONS, "CREATE TABLE added (x); INSERT INTO added VALUES (7)")
    with closing(SqliteStore.open(path, migrations=newer)) as store:
        assert store._db.execute("SELECT x FROM added").fetchone() == (7,)
        assert store._db.execute("PRAGMA user_version").fetchone() == (len(newer),)
        assert JournalClient(store).append("e1").duplicate


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    with opened(path):
        pass
    broken = (*schema.MIGRATIONS, "CREATE TABLE added (x); INSERT INTO nowhere VALUES (1)")
    with pytest.raises(JournalError, match="nowhere"):
        SqliteStore.open(path, migrations=broken)
    with opened(path) as client:
        assert client.store.generation == 2
        assert not client.db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'added'").fetchall()


def test_a_newer_journal_is_refused_and_left_as_it_is(path: Path) -> None:
    newer = (*schema.MIGRATIONS, "CREATE TABLE added (x)")
    SqliteStore.open(path, migrations=newer).close()
    before = bytes_of(path)
    with pytest.raises(JournalNewer) as refused:
        SqliteStore.open(path)
    assert f"schema {len(newer)}, this one knows {len(schema.MIGRATIONS)}" in str(refused.value)
    assert "start the newer larkd" in str(refused.value)
    assert bytes_of(path) == before


def test_a_newer_journal_whose_daemon_was_killed_is_left_as_it_is(path: Path) -> None:
    SqliteStore.open(path).close()
    kill_while_open(path, "PRAGMA user_version = 99")
    before = bytes_of(path)
    with pytest.raises(JournalNewer, match="schema 99"):
        SqliteStore.open(path)
    assert bytes_of(path) == before


# ── not a journal, or not now ───────────────────────────────────────────────


@pytest.mark.parametrize("content", [b"x", b"not a database\n" * 100, b"SQLite format 3\x00"])
def test_a_file_that_is_not_sqlite_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o644)
    with pytest.raises(JournalForeign, match=r"is not a SQLite file; move it away"):
        SqliteStore.open(path)
    assert bytes_of(path) == {path.name: content}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_database_of_another_program_is_refused_and_left_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE theirs (x)")
    before = bytes_of(path)
    with pytest.raises(JournalForeign, match="of another program"):
        SqliteStore.open(path)
    assert bytes_of(path) == before


def test_a_start_that_was_killed_before_its_tables_were_made_is_no_obstacle(path: Path) -> None:
    kill_while_open(path, "PRAGMA user_version = 0")
    with opened(path) as client:
        assert client.store.generation == 1


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match="its directory must exist"):
        SqliteStore.open(tmp_path / "missing" / "larkd.db")


def test_a_directory_in_the_place_of_the_file_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(JournalUnavailable, match="Is a directory"):
        SqliteStore.open(path)


def test_a_journal_another_process_writes_to_is_refused_after_a_bounded_wait(path: Path) -> None:
    SqliteStore.open(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable, match="end that process"):
            SqliteStore.open(path)
    with opened(path) as client:
        assert client.store.generation == 2


# ── damage ──────────────────────────────────────────────────────────────────


PAYLOAD = b"P" * 2_000
PAGE = 4_096


def with_rows(path: Path, count: int) -> None:
    with opened(path) as client:
        for number in range(count):
            client.append(f"e{number}", payload=PAYLOAD)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def test_a_damaged_page_is_found_at_the_start_also_where_nothing_reads_it(path: Path) -> None:
    with_rows(path, 50)
    overwrite(path, path.read_bytes().rindex(PAYLOAD) // PAGE * PAGE, b"\xff" * 200)
    before = bytes_of(path)
    with pytest.raises(JournalDamaged, match="restore a copy, or move it"):
        SqliteStore.open(path)
    assert bytes_of(path) == before
    assert problems_of(path)


def test_a_truncated_journal_is_found_at_the_start(path: Path) -> None:
    with_rows(path, 50)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(JournalDamaged, match="malformed"):
        SqliteStore.open(path)


def test_a_large_journal_is_checked_in_its_small_tables_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rows(path, 50)
    monkeypatch.setattr(opening, "CHECKED_WHOLE_PAGES_MAX", 10)
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'lease'").fetchone()
    with opened(path):
        pass
    overwrite(path, (page - 1) * PAGE, b"\xff" * PAGE)
    with pytest.raises(JournalDamaged):
        SqliteStore.open(path)


def test_a_sound_journal_has_no_problems_also_while_it_is_open(path: Path) -> None:
    with opened(path) as client:
        client.append("e1")
        assert problems_of(path) == ()


def test_half_a_transaction_left_by_a_crash_is_as_if_it_never_was(path: Path) -> None:
    with opened(path) as client:
        client.append("e1")
        log = path.with_name("larkd.db-wal")
        client.append("e2")
        torn = path.with_name("copy.db")
        torn.write_bytes(path.read_bytes())
        torn.with_name("copy.db-wal").write_bytes(log.read_bytes()[:-100])
    with opened(torn) as client:
        assert client.append("e1").duplicate
        assert not client.append("e2").duplicate
