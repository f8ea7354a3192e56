"""What only PostgreSQL's store can meet: another holder, a lost COMMIT, a server to refuse."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.types.numeric import Int8BinaryDumper

from actors.cli.doctor_cluster import examine_cluster
from actors.journal import JournalNewer, JournalUnavailable, JournalUnreachable, SqliteStore, schema
from actors.journal.postgres import NotEmpty, PostgresStore, Target, Watcher, move_into, rotate
from actors.journal.postgres.appending import BatchFence, append_fenced
from actors.journal.postgres.arrays import Column, ColumnDumper
from actors.messages import journal
from protocol.config.settings import ClusterSettings, Secret
from tests.actors.journal.client import NOBODY, JournalClient, append_message, entry
from tests.actors.journal.stores import on_postgres
from tests.kit import postgres
from tests.kit.postgres import USER, Server
from tests.kit.relay import Relay, relaying


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    with relaying(server.port) as relay:
        yield relay


@contextmanager
def opened(server: Server, cluster: str, port: int | None = None) -> Iterator[PostgresStore]:
    with closing(on_postgres(server, cluster, port=port)()) as store:
        yield store


def target(server: Server, cluster: str, node: str = "a") -> Target:
    return Target(database=server.url(), cluster=cluster, node=node)


# ── the fence ───────────────────────────────────────────────────────────────


def test_who_lost_the_cluster_commits_nothing_any_more(server: Server, cluster: str) -> None:
    with opened(server, cluster) as old:
        JournalClient(old).append("before")
        with opened(server, cluster) as new:
            answers = old.apply([append_message("late"), append_message("later")])
            assert all(isinstance(answer, journal.Failed) for answer in answers)
            assert old.standing().lost
            assert isinstance(old.apply([append_message("much later")])[0], journal.Failed)
            assert new.generation == old.generation + 1
            client = JournalClient(new)
            assert client.append("before").duplicate
            assert not client.append("late").duplicate
        assert not new.standing().lost, "what the old one did on its way out changed nothing"


def test_a_claim_is_conditional_on_what_was_seen(server: Server, cluster: str) -> None:
    with opened(server, cluster) as store, closing(Watcher.open(target(server, cluster))) as watch:
        seen = watch.look()
        assert store.apply([]) == []
        assert watch.claim(seen, (), now=time.monotonic) is None, "it has beaten since"
        assert watch.look().batch == seen.batch + 1
        assert not JournalClient(store).append("e1").duplicate


def test_leaving_frees_the_cluster(server: Server, cluster: str) -> None:
    with opened(server, cluster):
        pass
    with closing(Watcher.open(target(server, cluster))) as watch:
        assert watch.look().node is None


def test_a_holder_that_is_never_idle_learns_who_stands_by(server: Server, cluster: str) -> None:
    with (
        opened(server, cluster) as store,
        closing(Watcher.open(target(server, cluster, "b"))) as standby,
    ):
        standby.sign_in(["tls://b.example:7346"], "1")
        store.apply([append_message("e1")])
        (seen,) = store.standing().standbys
        assert (seen.node, seen.addresses) == ("b", ("tls://b.example:7346",))


def test_the_keys_a_holder_read_are_of_the_rotation_it_knows(server: Server, cluster: str) -> None:
    with (
        opened(server, cluster) as store,
        closing(Watcher.open(target(server, cluster, "b"))) as other,
    ):
        store.apply([])
        before = store.standing()
        rotate(other.connection, cluster, "session", "new")
        store._news_at += 3_600
        store.apply([append_message("e1")])  # too soon for another look at the keys
        soon = store.standing()
        assert (soon.tokens, soon.keys, soon.keys_of) == (1, before.keys, 0)
        store._news_at -= 3_610
        store.apply([])
        assert store.standing().keys_of == 1
        assert (store.standing().keys or {})["session"] == "new"


# ── a COMMIT whose answer is lost ───────────────────────────────────────────


def test_a_commit_that_happened_is_answered_as_it_was(
    server: Server, cluster: str, relay: Relay
) -> None:
    with opened(server, cluster, relay.port) as store:
        relay.cut_after = b"COMMIT"
        (answer,) = store.apply([append_message("e1")])
        assert answer == journal.Appended(row_id=answer.row_id, duplicate=False)
        assert JournalClient(store).append("e1").duplicate
        assert store.statistics().reopened == 1


def test_a_commit_that_did_not_happen_is_answered_as_failed(
    server: Server, cluster: str, relay: Relay
) -> None:
    with opened(server, cluster, relay.port) as store:
        relay.cut_before = b"COMMIT"
        (answer,) = store.apply([append_message("e1")])
        assert isinstance(answer, journal.Failed)
        assert not JournalClient(store).append("e1").duplicate


def test_a_commit_in_doubt_is_not_believed_when_another_has_claimed(
    server: Server, cluster: str, relay: Relay
) -> None:
    with opened(server, cluster, relay.port) as old:
        relay.cut_before = b"COMMIT"
        there, relay._to = relay._to, 1  # nobody listens there: no outcome can be read yet
        answers: list[object] = []
        thread = threading.Thread(target=lambda: answers.extend(old.apply([append_message("e1")])))
        thread.start()
        with opened(server, cluster):
            relay._to = there
            thread.join(60)
            assert not thread.is_alive()
        assert isinstance(answers[0], journal.Failed)
        assert old.standing().lost


# ── appends that are a transaction of their own ─────────────────────────────


def after_the_first_batch(store: PostgresStore, *events: str) -> JournalClient:
    """Past the first batch, which also reads who stands by and so has several statements."""
    store.apply([])
    store._news_at += 3_600  # on a slow machine the next look may be due by now
    client = JournalClient(store)
    for event in events:
        client.append(event)
    return client


def test_appends_alone_are_one_commit_in_order(server: Server, cluster: str) -> None:
    with opened(server, cluster) as store:
        client = after_the_first_batch(store, "known")
        commits = store.statistics().commits
        known, first, by_key, second = store.apply(
            [
                append_message("known"),
                append_message("e1", key="om_1"),
                append_message("another", key="known's"),
                append_message("e2"),
            ]
        )
        assert (known.row_id, known.duplicate) == (1, True)
        assert [one.duplicate for one in (first, by_key, second)] == [False] * 3
        assert known.row_id < first.row_id < by_key.row_id < second.row_id
        (again,) = store.apply([append_message("another id", key="om_1")])
        assert again == journal.Appended(row_id=first.row_id, duplicate=True)
        assert store.statistics().commits == commits + 2
        assert [row.event_id for row in client.unprepared()] == ["known", "e1", "another", "e2"]


def test_appends_that_were_committed_are_answered_as_they_were(
    server: Server, cluster: str, relay: Relay
) -> None:
    with opened(server, cluster, relay.port) as store:
        client = after_the_first_batch(store, "known")
        relay.cut_after = b"cut here"
        old, new = store.apply([append_message("known"), append_message("cut here")])
        assert (old.duplicate, new.duplicate) == (True, False)
        assert client.append("cut here") == journal.Appended(row_id=new.row_id, duplicate=True)
        assert store.statistics().reopened == 1


def test_appends_that_were_not_committed_are_answered_as_failed(
    server: Server, cluster: str, relay: Relay
) -> None:
    with opened(server, cluster, relay.port) as store:
        client = after_the_first_batch(store)
        relay.cut_before = b"cut here"
        answers = store.apply([append_message("cut here"), append_message("e2")])
        assert [type(answer) for answer in answers] == [journal.Failed] * 2
        assert not client.append("cut here").duplicate


def test_appends_nobody_knows_about_fail_while_the_server_is_away(
    server: Server, cluster: str, relay: Relay
) -> None:
    """The platform sends them again: nothing waits for the server to come back."""
    with opened(server, cluster, relay.port) as store:
        client = after_the_first_batch(store)
        relay.cut_after = b"cut here"
        there, relay._to = relay._to, 1  # nobody listens there
        (answer,) = store.apply([append_message("cut here")])
        assert isinstance(answer, journal.Failed)
        relay._to = there
        assert client.append("cut here").duplicate


def test_appends_that_arrive_after_the_next_batch_change_nothing(
    server: Server, cluster: str
) -> None:
    """As of a connection that was given up while what it carried was on its way."""
    with opened(server, cluster) as store, psycopg.connect(server.url(), autocommit=True) as old:
        client = after_the_first_batch(store, "e1")
        old.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(f"larkd_{cluster}")))
        old.adapters.register_dumper(int, Int8BinaryDumper)
        old.adapters.register_dumper(Column, ColumnDumper)
        late = BatchFence(cluster, store._mark, store._batch)
        assert append_fenced(old, [append_message("late")], late) is None
        assert not client.append("late").duplicate


def test_what_is_appended_is_stored_as_it_is(server: Server, cluster: str) -> None:
    with opened(server, cluster) as store:
        client = after_the_first_batch(store)
        payloads = [b"", bytes(range(256)), b"x" * 100_000]
        batch = [
            append_message(f"事件 {number}", payload=payload, at_ms=10**15, key=key)
            for number, payload, key in zip(
                range(3), payloads, (None, 'a "key", {with} \\', None), strict=True
            )
        ]
        store.apply(batch)
        rows = client.unprepared()
        assert [row.payload for row in rows] == payloads
        assert [row.event_id for row in rows] == [one.event_id for one in batch]
        assert [row.received_at_ms for row in rows] == [10**15] * 3
        keys = client.sql("SELECT message_key FROM inbound ORDER BY row_id")
        assert [key for (key,) in keys] == [one.message_key for one in batch]


def test_an_append_the_server_refuses_undoes_itself_alone(server: Server, cluster: str) -> None:
    with opened(server, cluster) as store:
        client = after_the_first_batch(store)
        good, bad = store.apply([append_message("e1"), append_message("null \x00")])
        assert good == journal.Appended(row_id=good.row_id, duplicate=False)
        assert isinstance(bad, journal.Failed)
        assert not store.standing().lost
        assert not client.append("e2").duplicate


def test_a_connection_that_hangs_is_shut_down_from_outside(
    server: Server, cluster: str, relay: Relay
) -> None:
    with opened(server, cluster, relay.port) as store:
        relay.holding.set()
        answers: list[object] = []
        thread = threading.Thread(
            target=lambda: answers.extend(store.apply([append_message("e1")]))
        )
        thread.start()
        until = time.monotonic() + 60
        while not relay.holds_something():
            assert time.monotonic() < until
            time.sleep(0.01)
        assert thread.is_alive()
        store.hang_up()
        thread.join(60)
        assert not thread.is_alive()
        assert isinstance(answers[0], journal.Failed)
        relay.holding.clear()
        assert not JournalClient(store).append("e1").duplicate


def test_a_connection_that_was_reset_is_made_again(
    server: Server, cluster: str, relay: Relay
) -> None:
    with opened(server, cluster, relay.port) as store:
        relay.cut()
        assert isinstance(store.apply([append_message("e1")])[0], journal.Failed)
        assert not JournalClient(store).append("e1").duplicate


# ── what a person has to put right ──────────────────────────────────────────


def refusal(database: str, cluster: str, node: str = "a") -> str:
    with pytest.raises(JournalUnavailable) as refused:
        Watcher.open(Target(database=database, cluster=cluster, node=node)).close()
    text = str(refused.value)
    assert postgres.PASSWORD not in text
    return text


def test_a_wrong_password_is_named_without_showing_it(server: Server, cluster: str) -> None:
    text = refusal(server.url().replace("only", "wrong"), cluster)
    assert "password authentication failed" in text
    assert "correct user and password in cluster.database" in text
    assert "wrong" not in text


def test_what_is_no_connection_string_is_named(cluster: str) -> None:
    assert "write it as postgresql://user:password@host" in refusal("postgresql://[", cluster)


def test_a_server_elsewhere_must_prove_who_it_is(cluster: str) -> None:
    text = refusal("postgresql://u:p@db.example/larkd", cluster)
    assert "give sslmode=verify-full" in text
    assert "sslmode=verify-full" in refusal("host=127.0.0.1,10.0.0.9 user=u", cluster)


def test_a_server_that_is_away_may_come_back(cluster: str) -> None:
    with pytest.raises(JournalUnreachable, match="start the server, or correct host and port"):
        Watcher.open(Target(database="host=127.0.0.1 port=1 user=u", cluster=cluster, node="a"))


@pytest.mark.parametrize("statement", [b"pg_is_in_recovery", b"to_regclass"])
def test_a_connection_lost_in_the_first_statements_may_come_back(
    server: Server, cluster: str, relay: Relay, statement: bytes
) -> None:
    """As where the server is restarted: a node waits for it, and does not end."""
    relay.cut_after = statement
    there = Target(database=server.url(port=relay.port), cluster=cluster, node="a")
    with pytest.raises(JournalUnreachable):
        Watcher.open(there)
    Watcher.open(there).close()


def test_a_lock_that_is_not_free_may_become_free(server: Server, cluster: str) -> None:
    with closing(Watcher.open(target(server, cluster))):
        pass
    with psycopg.connect(server.url()) as other:
        other.execute("LOCK TABLE larkd.claim")
        with pytest.raises(JournalUnreachable, match="lock timeout"):
            Watcher.open(target(server, cluster, "b"))


def test_a_user_without_rights_is_reported_which(server: Server, cluster: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(f"d{cluster}")))
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(f"r{cluster}"))
        )
    text = refusal(f"postgresql://r{cluster}:x@127.0.0.1:{server.port}/d{cluster}", cluster)
    assert f"GRANT CREATE ON DATABASE d{cluster} TO r{cluster}" in text


def test_a_journal_of_a_newer_larkd_is_not_claimed(server: Server, cluster: str) -> None:
    with closing(Watcher.open(target(server, cluster))) as watch:
        newer = (*schema.MIGRATIONS, "CREATE TABLE added (x INTEGER)")
        assert watch.claim(watch.look(), (), now=time.monotonic, migrations=newer)
        before = watch.look()
        with pytest.raises(JournalNewer, match="upgrade larkd on this node"):
            watch.claim(before, (), now=time.monotonic)
        after = watch.look()
        assert (after.term, after.mark, after.node) == (before.term, before.mark, before.node)


def test_two_living_processes_of_one_name_are_distinguished(server: Server, cluster: str) -> None:
    with closing(Watcher.open(target(server, cluster))) as first:
        with closing(Watcher.open(target(server, cluster))) as second:
            second.require_own_name()  # the first does nothing: it may be a dead one's rest

            def looking(_seconds: float) -> None:
                first.look()

            with pytest.raises(JournalUnavailable, match="another larkd already runs as node a"):
                second.require_own_name(looking)


def test_a_server_that_does_not_sync_or_recovers_is_refused(cluster: str) -> None:
    with postgres.running(fsync="off") as server:
        text = refusal(server.url(), cluster)
        assert "fsync=off" in text
        assert "set fsync=on" in text
        server.stop()
        signal: Path = server.data / "standby.signal"
        signal.touch()
        server.start(fsync="on")
        assert "is in recovery" in refusal(server.url(), cluster)


def test_a_pooler_that_takes_no_options_is_refused(
    server: Server, cluster: str, relay: Relay
) -> None:
    """It would bring one cluster's journal into the schema of another, or of nobody."""
    named = f"-c search_path=larkd_{cluster}".encode()
    relay.rewrite = lambda data: data.replace(named, b" " * len(named))
    text = refusal(server.url(port=relay.port), cluster)
    assert "it is a pooler; name PostgreSQL itself in cluster.database" in text


def test_doctor_names_a_pooler(server: Server, cluster: str, relay: Relay) -> None:
    """A pooler gives out keys for cancelling that are its own."""
    given = b"K\0\0\0\x0c"

    def other_key(data: bytes) -> bytes:
        head, found, rest = data.partition(given)
        return head + found + b"\0\0\0\1" + rest[4:] if found else data

    def found() -> list[str]:
        url = Secret(server.url(port=relay.port))
        return [
            one.check for one in examine_cluster(ClusterSettings(name=cluster, database=url), "1")
        ]

    assert "pooler" not in found()
    relay.rewrite = other_key
    assert "pooler" in found()


def test_a_server_that_soon_ends_statements_is_refused(server: Server, cluster: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute("ALTER ROLE CURRENT_USER SET statement_timeout = '90ms'")
        try:
            text = refusal(server.url(), cluster)
        finally:
            admin.execute("ALTER ROLE CURRENT_USER RESET statement_timeout")
    assert f"ends statements of user {USER} after 90 ms" in text
    assert f"ALTER ROLE {USER} SET statement_timeout = 0" in text


def test_a_server_without_a_free_connection_is_waited_for(cluster: str) -> None:
    """Where all nodes come back at once it may be full for a moment."""
    with (
        postgres.running(max_connections="4", superuser_reserved_connections="0") as small,
        contextlib.ExitStack() as taken,
    ):
        for _ in range(4):
            taken.enter_context(psycopg.connect(small.url()))
        with pytest.raises(JournalUnreachable, match="raise max_connections in the server"):
            Watcher.open(target(small, cluster))


# ── what it costs ───────────────────────────────────────────────────────────


def test_no_everyday_statement_scans_a_table_that_grows(
    server: Server, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the planner's own word, with statistics and without."""
    from actors.journal.postgres import pipeline  # noqa: PLC0415

    issued: dict[str, tuple[object, ...]] = {}
    execute = pipeline.PipelineDb.execute

    def noting(self: pipeline.PipelineDb, text: str, *values: object) -> pipeline.PipelineRows:
        issued[text] = values
        return execute(self, text, *values)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline.PipelineDb, "execute", noting)
    with opened(server, cluster) as store:
        client = JournalClient(store)
        for start in range(0, 20_000, 1_000):
            store.apply(
                [
                    append_message(f"e{number}", key=f"om_{number}")
                    for number in range(start, start + 1_000)
                ]
            )
        client.sql("UPDATE inbound SET state = 'answered', chat_id = 'oc_9'")
        everyday(client)
        for analysed in (False, True):
            if analysed:
                client.sql("ANALYZE")
            scans = [
                (text, line)
                for text, values in issued.items()
                if text.lstrip().startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH"))
                for (line,) in psycopg.RawCursor(store._connection)
                .execute(f"EXPLAIN {text.replace('?', '$')}".encode(), list(values))
                .fetchall()
                if "Seq Scan on inbound" in line or "Seq Scan on content" in line
            ]
            assert scans == []
    assert len(issued) > 10, "the store was not watched"


def everyday(client: JournalClient) -> None:
    row_id = client.append("new", key="om_new").row_id
    client.unprepared(limit=2)
    client.prepare(row_id)
    offer = client.offer("s", 1)
    assert offer is not None
    client.acked("new", 1, 1)
    client.release(1)
    client.queue()
    client.close(row_id)
    client.ask(journal.Overdue(delivered_before_ms=5, reply=NOBODY))
    client.prune(1)


# ── from one machine to several ─────────────────────────────────────────────

KEYS = {"dispatcher": "d" * 43, "session": "s" * 43, "observer": "o" * 43}


def test_a_journal_of_one_machine_is_moved_whole(server: Server, cluster: str, path: Path) -> None:
    with closing(SqliteStore.open(path)) as store:
        before = JournalClient(store)
        before.append("received", payload=b"\x00\xff")
        before.ready("offered", content="text \x00 with a null")
        before.offer("s", 1)
        gone = before.append("pruned").row_id
        before.close(gone)
        before.prune(before_ms=10**15)
        before.bind({"oc_1": "s"})
        before.open_card(entry("c1"))
        before.note_card("c1", text="null \x00 and 多语言")
        card = before.open_cards()
    with closing(Watcher.open(target(server, cluster))) as watcher:
        counts = move_into(path, watcher, KEYS)
        assert (counts["inbound"], counts["card"]) == (2, 1)
        assert watcher.look().node is None
        with pytest.raises(NotEmpty, match="name an empty one"):
            move_into(path, watcher, KEYS)
    with opened(server, cluster) as moved:
        after = JournalClient(moved)
        assert moved.generation == 3, "the terms go on from the generations"
        assert [row.payload for row in after.unprepared()] == [b"\x00\xff"]
        offer = after.offer("s", 2)
        assert offer is not None
        assert (offer.attempt, offer.prompt.content) == (2, "text \x00 with a null")
        assert after.lease().bindings == {"oc_1": "s"}
        assert after.open_cards() == card
        assert after.append("new").row_id > gone
        of_the_cluster = "SELECT role, key FROM larkd.token WHERE cluster = current_schema()"
        found = dict(after.sql(of_the_cluster.replace("current_schema()", f"'{cluster}'")))
        assert found == KEYS
