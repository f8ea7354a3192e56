"""When a commit of PostgreSQL counts, and over which connection it is made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
import structlog
from psycopg import conninfo, sql

from actors.journal import JournalUnavailable
from actors.journal.postgres import PostgresStore, Target, Watcher, connecting
from actors.journal.store import Tally
from actors.messages import journal
from protocol.ids import ConnectionId, RowId, SessionId
from protocol.routing.delivery import RowState
from tests.actors.journal.client import ACCOUNT, NOBODY, JournalClient, append_message, prompt
from tests.actors.journal.stores import on_postgres
from tests.kit import postgres
from tests.kit.postgres import Server
from tests.kit.relay import relaying

WITHIN_S = 60.0


@pytest.fixture(scope="module")
def alone() -> Iterator[Server]:
    """A server of our own, whose settings are changed while it runs."""
    postgres.require()
    with postgres.running() as server:
        yield server


def name_replicas(server: Server, names: str) -> None:
    """Let commits wait for replicas of these names; nobody has them."""
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(
            sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}").format(sql.Literal(names))
        )
        admin.execute("SELECT pg_reload_conf()")
        until = time.monotonic() + WITHIN_S
        while admin.execute("SHOW synchronous_standby_names").fetchone() != (names,):
            assert time.monotonic() < until
            time.sleep(0.01)
        while names and not does_a_commit_wait(server, admin):
            assert time.monotonic() < until


def does_a_commit_wait(server: Server, admin: psycopg.Connection[Any]) -> bool:
    """Whether the server's checkpointer has taken up the names, too: commits go by that."""
    options = "-c synchronous_commit=on"  # whatever the user has it set to
    with closing(psycopg.connect(server.url(), autocommit=True, options=options)) as one:
        one.pgconn.send_query(b"SELECT pg_logical_emit_message(true, 'test', '')")
        while one.pgconn.is_busy():
            waits = admin.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event = 'SyncRep' AND pid = %s",
                (one.info.backend_pid,),
            ).fetchone()
            if waits is not None:
                return True
            time.sleep(0.01)
            one.pgconn.consume_input()
    return False


@contextmanager
def named_replicas(server: Server) -> Iterator[None]:
    """Let commits wait for ever, until this is over."""
    try:
        name_replicas(server, "nobody")
        yield
    finally:
        name_replicas(server, "")


def wait_for_a_commit_that_waits(server: Server, *, besides: int | None = None) -> int:
    """Return the pid of a connection that waits for a replica."""
    until = time.monotonic() + WITHIN_S
    with psycopg.connect(server.url(), autocommit=True) as admin:
        while time.monotonic() < until:
            found = admin.execute(
                "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid <> %s",
                (besides or 0,),
            ).fetchone()
            if found is not None:
                return int(found[0])
            time.sleep(0.01)
    raise AssertionError("no commit waits for a replica")


class Applying(threading.Thread):
    def __init__(self, store: PostgresStore, *batch: journal.JournalMessage) -> None:
        super().__init__(daemon=True)
        self._store, self._batch = store, batch
        self.answers: list[Any] = []
        self.start()

    def run(self) -> None:
        self.answers = self._store.apply(self._batch)

    def wait(self) -> list[Any]:
        self.join(WITHIN_S)
        assert not self.is_alive()
        return self.answers


@pytest.mark.parametrize("kind", ["appends alone", "several statements"])
def test_a_wait_for_a_replica_that_was_cancelled_counts_as_lost(alone: Server, kind: str) -> None:
    """It answers as a commit does, with a warning: what it wrote is here and nowhere else."""
    batch: list[journal.JournalMessage] = [append_message("e1")]
    if kind == "several statements":
        batch.append(journal.Queue(reply=NOBODY))
    with closing(on_postgres(alone, kind.replace(" ", "_"))()) as store:
        store.apply([])
        store._news_at += 3_600
        with named_replicas(alone):
            applying = Applying(store, *batch)
            waiting = wait_for_a_commit_that_waits(alone)
            with psycopg.connect(alone.url(), autocommit=True) as admin:
                admin.execute("SELECT pg_cancel_backend(%s)", (waiting,))
            # It asks again, and what it reads counts once that is replicated.
            wait_for_a_commit_that_waits(alone, besides=waiting)
            assert applying.is_alive()
        appended = applying.wait()[0]
        assert appended == journal.Appended(row_id=appended.row_id, duplicate=False)
        assert store.statistics().reopened == 1
        assert JournalClient(store).append("e1").duplicate


def test_beats_wait_for_the_disk_only_where_a_replica_is_named(alone: Server) -> None:
    with psycopg.connect(alone.url(), autocommit=True) as admin:
        admin.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = off")
        with closing(on_postgres(alone, "beats")()) as first:  # makes the tables
            first.apply([])
        admin.execute(
            "CREATE TABLE public.noted (number bigserial, surely text);"
            " CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO public.noted (surely) VALUES (current_setting('synchronous_commit'));"
            " RETURN NULL; END $$;"
            " CREATE TRIGGER note AFTER UPDATE ON larkd.claim FOR EACH ROW"
            " WHEN (NEW.cluster = 'beats') EXECUTE FUNCTION public.note()"
        )
        with closing(on_postgres(alone, "beats")()) as store:
            admin.execute("TRUNCATE public.noted")
            store.apply([])
            store.apply([append_message("e1")])
            store.apply([append_message("e2"), journal.Queue(reply=NOBODY)])
            store.apply([])
            store.connection.close()
            with named_replicas(alone):
                beat = Applying(store)
                wait_for_a_commit_that_waits(alone)
                assert beat.is_alive(), "only synchronous batches count as confirmed"
            beat.wait()
        noted = admin.execute("SELECT surely FROM public.noted ORDER BY number").fetchall()
        assert [surely for (surely,) in noted][:5] == ["off", "on", "on", "off", "on"]
        admin.execute("ALTER ROLE CURRENT_USER RESET synchronous_commit")


def test_a_connection_is_as_written(alone: Server) -> None:
    with closing(on_postgres(alone, "connection")()) as store:
        given = conninfo.conninfo_to_dict(store.connection.info.dsn)
        written = (
            "connect_timeout=2 keepalives_idle=1 keepalives_interval=1 keepalives_count=2"
            " tcp_user_timeout=2000 target_session_attrs=read-write"
            " application_name=larkd/connection@a"
        )
        wanted = conninfo.conninfo_to_dict(written)
        assert {name: given.get(name) for name in wanted} == wanted
        for name, value in {
            "search_path": "larkd_connection",
            "idle_in_transaction_session_timeout": "1s",
            "lock_timeout": "1s",
            "default_transaction_isolation": "read committed",
            "synchronous_commit": "on",
        }.items():
            found = store.connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            assert found == (value,), name


def offer(session: str, number: int) -> journal.OfferNext:
    return journal.OfferNext(
        session_id=SessionId(session),
        takes_unbound=True,
        joins=True,
        connection_id=ConnectionId(number),
        lease_epoch=1,
        at_ms=1,
        rows_max=1,
        reply=NOBODY,
    )


def prepare(row: RowId) -> journal.Prepare:
    capacity = journal.Capacity(session_id=SessionId("s"), takes_unbound=True, waiting_max=20)
    rows = (journal.PreparedRow(row_id=row, prompt=prompt("oc_1", "hello", f"om_{row}")),)
    return journal.Prepare(rows=rows, capacity=capacity, reply=NOBODY)


def unprepared() -> journal.Unprepared:
    return journal.Unprepared(account=ACCOUNT, after_row=RowId(0), limit=100, reply=NOBODY)


def at_a_start(rows: list[RowId]) -> dict[str, list[journal.JournalMessage]]:
    """What a node asks its journal between its claim and its first turns, batch by batch."""
    nobody = frozenset[Any]()
    return {
        "lease and roster": [
            journal.LoadLease(reply=NOBODY),
            journal.LoadRoster(reply=NOBODY),
            journal.Release(connection_id=None, row_ids=None, reply=NOBODY),
        ],
        "what was left": [
            journal.OpenCards(reply=NOBODY),
            journal.Prune(before_ms=0, limit=1, reply=NOBODY),
            journal.LoadAccess(account=ACCOUNT, reply=NOBODY),
            journal.ApprovalsLeft(reply=NOBODY),
            journal.TypingLeft(term=1, reply=NOBODY),
        ],
        "first events": [unprepared(), append_message("e7"), append_message("e8")],
        "prompts": [*map(prepare, rows), append_message("e9")],
        "offers": [offer(f"s{number}", number) for number in range(4)],
        "nothing to offer": [offer(f"s{number}", number) for number in range(4)],
        "a sweep": [
            journal.ReleaseUnknown(held=frozenset(rows), connections=nobody, reply=NOBODY),
            unprepared(),
        ],
    }


def test_what_a_node_asks_at_its_start_takes_two_round_trips_a_batch(alone: Server) -> None:
    """However many sessions come back at once, and however much waits for them."""
    with (
        relaying(alone.port) as relay,
        closing(on_postgres(alone, "starts", port=relay.port)()) as store,
    ):
        client = JournalClient(store)
        rows = [client.append(f"e{number}").row_id for number in range(3)]
        taken: dict[str, int] = {}
        for name, batch in at_a_start(rows).items():
            before = relay.round_trips
            answers = store.apply(batch)
            taken[name] = relay.round_trips - before
            assert not any(isinstance(one, journal.Failed) for one in answers), (name, answers)
            if name == "offers":
                offered = [one.row_id for offers in answers for one in offers]
                assert offered == rows, "each to one, in order"
    assert taken == dict.fromkeys(taken, 2)


def test_a_batch_takes_two_round_trips_and_appends_or_a_beat_alone_one(alone: Server) -> None:
    """Each costs a node that is far from its database as much as the others together."""
    with (
        relaying(alone.port) as relay,
        closing(on_postgres(alone, "trips", port=relay.port)()) as store,
    ):
        client = JournalClient(store)
        row = client.append("e0").row_id
        store.apply([])  # what it reads once a second is not due again
        store._news_at += 3_600
        taken: dict[str, int] = {}

        def take(name: str, *batch: journal.JournalMessage) -> None:
            for _ in range(2):  # the first one prepares its statements
                before = relay.round_trips
                answers = store.apply(batch)
                assert not any(isinstance(one, journal.Failed) for one in answers), answers
                taken[name] = relay.round_trips - before

        take("a beat")
        take("an append", append_message("e1"))
        take("appends", *(append_message(f"f{number}") for number in range(10)))
        close = journal.Close(row_id=row, state=RowState.REFUSED, note=None, at_ms=1, reply=NOBODY)
        take("what only writes", close)
        take("what only reads", journal.Queue(reply=NOBODY))
        take("both, and appends", append_message("e2"), journal.Queue(reply=NOBODY))
    assert taken == {
        "a beat": 1,
        "an append": 1,
        "appends": 1,
        "what only writes": 2,
        "what only reads": 2,
        "both, and appends": 2,
    }


def test_a_claim_takes_few_round_trips(alone: Server) -> None:
    """The cluster is to be served 5 s after its last holder, of which it has waited for 3."""
    with relaying(alone.port) as relay:
        target = Target(database=alone.url(port=relay.port), cluster="claimed", node="a")
        with closing(on_postgres(alone, "claimed")()):
            pass  # the tables are there
        with closing(Watcher.open(target)) as watcher:
            before = relay.round_trips
            seen = watcher.look()
            assert relay.round_trips - before == 1
            before = relay.round_trips
            assert watcher.claim(seen, (), now=time.monotonic) is not None
            assert relay.round_trips - before == 2


def test_a_standby_that_came_before_the_first_claim_learns_of_the_journal(alone: Server) -> None:
    """Then its own claim takes no more round trips than that of others."""
    with relaying(alone.port) as relay:
        target = Target(database=alone.url(port=relay.port), cluster="early", node="b")
        with closing(Watcher.open(target)) as watcher:
            with closing(on_postgres(alone, "early")()):
                pass
            watcher.sign_in((), "1")
            seen = watcher.look()
            before = relay.round_trips
            assert watcher.claim(seen, (), now=time.monotonic) is not None
            assert relay.round_trips - before == 2


def test_an_older_server_is_refused(alone: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "SERVER_VERSION_MIN", 1_000_000)
    with pytest.raises(JournalUnavailable, match=r"is PostgreSQL \d+; 15 or newer is needed"):
        Watcher.open(Target(database=alone.url(), cluster="older", node="a"))


def test_a_reason_that_holds_on_is_logged_once_a_second() -> None:
    """Each batch meets it while the database is away, a hundred in a second."""
    tally, began = Tally(), time.monotonic()
    with structlog.testing.capture_logs() as logged:
        for _ in range(100):
            tally.failure(OSError("away"))
        of_one = len(logged)
        tally.failure(OSError("away"), message="Queue")
        tally.failure(OSError("back"))
        tally.failure(OSError("away"))
    assert of_one <= 1 + (time.monotonic() - began)
    assert [one["reason"] for one in logged[of_one:]] == ["away", "back", "away"]
    assert sum(one.get("unlogged", 0) for one in logged) == 100 - of_one
