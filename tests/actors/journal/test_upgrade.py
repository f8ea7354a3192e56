"""From a journal of each released larkd to one of today, with the way back.

``released/N.sql`` is the dump of a journal that larkd with schema N wrote. Each of them
holds a row in every state, a lease, open and closed cards, and one entry of every other
table.
"""

from __future__ import annotations

import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from actors.journal import (
    JournalNewer,
    JournalUnavailable,
    SqliteStore,
    newest,
    problems_of,
    schema,
    what_became_of,
)
from actors.journal.postgres import Target, Watcher, move_into
from actors.messages import journal
from protocol.ids import AccountId, MessageId, PlaceKey, SessionId
from protocol.routing.lease import LeaseState
from protocol.wire.vocabulary import ROLES
from tests.actors.journal.client import ACCOUNT, NOBODY, JournalClient
from tests.actors.journal.stores import on_postgres
from tests.kit import keep_release
from tests.kit.postgres import Server

RELEASED = {int(file.stem): file for file in Path(__file__).with_name("released").glob("*.sql")}
OLDER = [version for version in sorted(RELEASED) if version < len(schema.MIGRATIONS)]


def as_released(path: Path, version: int) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(RELEASED[version].read_text())
    return path


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


def test_every_release_has_its_dump_and_its_configuration() -> None:
    """``make keep-release`` makes them."""
    kept = keep_release.releases()
    for version in keep_release.released():
        assert version in kept, f"make keep-release, for {version}"
    for version, number in kept.items():
        assert number in RELEASED
        assert (keep_release.CONFIGURATIONS / f"{version}.toml").exists()
    assert max(RELEASED) <= len(schema.MIGRATIONS)


def test_what_would_be_kept_today_has_an_entry_in_every_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(keep_release.of_today())
        assert keep_release.tables(db)
    with closing(SqliteStore.open(path)) as store:
        assert store.generation == 2
    assert problems_of(path) == ()


@pytest.mark.parametrize("version", sorted(RELEASED))
def test_no_migration_that_was_released_has_changed(path: Path, version: int) -> None:
    """An upgraded journal has just the tables and indexes of a new one."""
    SqliteStore.open(as_released(path, version)).close()
    SqliteStore.open(new := path.with_name("new.db")).close()
    assert _schema(path) == _schema(new)


def _schema(path: Path) -> set[tuple[str, str, str]]:
    with closing(sqlite3.connect(path)) as db:
        return set(db.execute("SELECT type, name, sql FROM sqlite_master"))


@pytest.mark.parametrize("version", sorted(RELEASED))
def test_an_upgraded_journal_holds_all_that_it_held(path: Path, version: int) -> None:
    as_released(path, version)
    with closing(SqliteStore.open(path)) as store:
        client = JournalClient(store)
        assert client.sql("PRAGMA user_version") == [(len(schema.MIGRATIONS),)]
        assert store.generation == 2
        assert_all_is_held(client)
    assert problems_of(path) == ()


@pytest.mark.parametrize("version", sorted(RELEASED))
def test_a_cluster_that_an_old_journal_is_moved_into_holds_all_that_it_held(
    path: Path, version: int, server: Server, cluster: str
) -> None:
    target = Target(database=server.url(), cluster=cluster, node="a")
    with closing(Watcher.open(target)) as watcher:
        move_into(as_released(path, version), watcher, dict.fromkeys(ROLES, "key"))
    with closing(on_postgres(server, cluster)()) as store:
        assert_all_is_held(JournalClient(store))


@pytest.mark.parametrize("version", sorted(RELEASED))
def test_a_cluster_of_an_older_schema_is_brought_up_to_date(
    version: int, server: Server, cluster: str
) -> None:
    """It has just the columns of a new one."""
    target = Target(database=server.url(), cluster=cluster, node="a")
    with closing(Watcher.open(target)) as watcher:
        released = schema.MIGRATIONS[:version]
        assert watcher.claim(watcher.look(), (), now=time.monotonic, migrations=released)
    for name in (cluster, f"{cluster}_new"):
        on_postgres(server, name)().close()
    with psycopg.connect(server.url()) as db:
        assert columns(db, cluster) == columns(db, f"{cluster}_new")


def columns(db: psycopg.Connection[Any], cluster: str) -> set[tuple[Any, ...]]:
    """Table, column, type and default of all that a cluster's journal has."""
    found = db.execute(
        "SELECT table_name, column_name, data_type, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = %s",
        (f"larkd_{cluster}",),
    ).fetchall()
    assert found
    return set(found)


def assert_all_is_held(client: JournalClient) -> None:
    assert client.lease() == LeaseState(
        owner=SessionId("s_owner"),
        epoch=41,
        bindings={PlaceKey("oc_bound"): SessionId("s_bound")},
    )
    (card,) = client.open_cards()
    assert (card.card_id, card.message_id, card.text) == ("c_open", "om_card", "so far: 多语言")
    assert [row.payload for row in client.unprepared()] == [b'{"event":"received"}']
    again = client.offer("s_owner", 9)
    assert again is not None
    assert (again.event_id, again.attempt) == ("e_delivered", 2), "offered, never acked"
    bound = client.offer("s_bound", 8, unbound=False)
    assert bound is not None
    assert bound.prompt.content == "text for the bound session"
    assert client.append("e_new", key="om_answered").duplicate, "known by its message"
    roster = client.ask(journal.LoadRoster(reply=NOBODY))
    assert [one.alias for one in roster.sessions] == ["blue"]
    assert roster.unread == {("s_owner", "oc_1")}
    calls = journal.CountCalls(account=ACCOUNT, month="2026-11", calls=1, reply=NOBODY)
    assert client.ask(calls) == 13
    book = client.ask(journal.LoadAccess(account=AccountId("default"), reply=NOBODY))
    assert book.groups == {"oc_1"}
    (approval,) = client.ask(journal.ApprovalsLeft(reply=NOBODY))
    assert (approval.message_id, approval.entry_id) == ("om_ask", "om_ask")
    assert client.forget_approval("om_ask")
    sent = journal.WhereIs(message_id=MessageId("om_sent"), accounts=(), reply=NOBODY)
    assert client.ask(sent).ours


@pytest.mark.parametrize("version", OLDER)
def test_it_is_backed_up_first_and_the_copy_is_the_way_back(path: Path, version: int) -> None:
    before = dump(as_released(path, version))
    SqliteStore.open(path).close()
    copy = path.with_name(f"larkd.db.schema-{version}")
    assert dump(copy) == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(JournalNewer, match=rf"put {copy.name} in its place$"):
        SqliteStore.open(path, migrations=schema.MIGRATIONS[:version])
    copy.replace(path)
    SqliteStore.open(path, migrations=schema.MIGRATIONS[:version]).close()


def test_a_journal_of_today_is_not_copied(path: Path) -> None:
    for _ in range(2):
        SqliteStore.open(path).close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_without_a_copy_nothing_is_upgraded(path: Path) -> None:
    before = dump(as_released(path, 1))
    path.with_name("larkd.db.schema-1").mkdir()  # in the way of the copy
    with pytest.raises(JournalUnavailable, match="no copy of the journal can be made"):
        SqliteStore.open(path)
    assert dump(path) == before
    assert not path.with_name("larkd.db.schema-1.part").exists()


@pytest.mark.parametrize("version", sorted(RELEASED))
def test_what_became_of_a_message_is_read_from_it_as_it_is(path: Path, version: int) -> None:
    before = dump(as_released(path, version))
    for message in ("om_answered", "e_delivered"):
        found = what_became_of(path, message)
        assert found is not None, message
        assert found.history.received_at_ms
    assert what_became_of(path, "om_nobody_knows") is None
    last, all_of_them = newest(path, 1), newest(path, 100)
    assert last == all_of_them[-1:]
    assert "om_answered" in [one.history.message_id for one in all_of_them]
    assert len({one.history.row_id for one in all_of_them}) == len(all_of_them) > 1
    assert dump(path) == before
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing is left"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    with pytest.raises(JournalNewer):
        what_became_of(path, "om_answered")
