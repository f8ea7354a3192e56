"""What commands do where the journal and the tokens are in a cluster's database."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import trio
from psycopg import sql

from tests.cluster.nodes import Certificates, Fleet, Place, larkd
from tests.kit.daemon import Platform, open_daemon, open_platform
from tests.kit.postgres import Server
from tests.kit.raw_proxy import session

Rows = dict[str, list[tuple[Any, ...]]]


async def test_tokens_status_doctor_log_and_backup_know_of_the_cluster(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        metrics: dict[str, Any] = {"metrics": {"host": "127.0.0.1", "port": 0}}

        async def run(node: str, *words: str) -> tuple[int, str, str]:
            where = ("--state-dir", str(root / node))
            return await larkd(*words, *where, LARKD_DATABASE=server.url())

        async with fleet.pair(**metrics) as (a, b):
            sent = await platform.send(await platform.chat(), "hello")
            async with session(a.state_dir, "boss", "dispatcher") as boss:
                await boss.until("deliver")
                with trio.fail_after(60):
                    while not (await boss.tool("feishu_channel_status"))["result"]["standbys"]:
                        await trio.sleep(0.2)
                status, shown, _ = await run("a", "status")
                assert status == 0
                assert f"cluster {cluster}   node a, term 1, holding" in shown
                assert "  standby b, larkd " in shown

                # A new token is in force on every node, and the open connection stays.
                before = (a.state_dir / "tokens" / "session.token").read_text()
                status, shown, why = await run("b", "tokens", "rotate", "session")
                assert (status, why) == (0, "")
                assert f"new session token in the database of cluster {cluster}" in shown
                files = [one.state_dir / "tokens" / "session.token" for one in (a, b)]
                with trio.fail_after(60):
                    while before in (now := {one.read_text() for one in files}) or len(now) > 1:
                        await trio.sleep(0.05)
                assert {one.stat().st_mode & 0o777 for one in files} == {0o600}
                async with session(a.state_dir, "mate"):
                    pass
                await boss.barrier()

            status, shown, _ = await run("a", "log", "--json", sent["message_id"])
            assert (status, json.loads(shown)["row"]["event_id"]) == (0, sent["event_id"])
            # On a machine that has the configuration and never ran a node, too.
            status, shown, _ = await fleet.command(
                "b", "log", "--json", sent["message_id"], "--state-dir", str(root / "none")
            )
            assert (status, json.loads(shown)["row"]["event_id"]) == (0, sent["event_id"])
            status, shown, _ = await fleet.command(
                "b", "log", "--json", "--state-dir", str(root / "none")
            )
            listed = [one["message_id"] for one in json.loads(shown)["messages"]]
            assert (status, sent["message_id"] in listed) == (0, True), "though no log is there"
            status, shown, why = await fleet.command(
                "b", "tokens", "rotate", "observer", "--state-dir", str(root / "none")
            )
            assert (status, why) == (0, "")
            assert f"new observer token in the database of cluster {cluster}" in shown
            status, _, why = await run("a", "backup", str(root / "copy"))
            assert status == 1
            assert f"pg_dump --schema=larkd --schema=larkd_{cluster}" in why

            _, shown, _ = await run("a", "doctor", "--json")
            found = {one["check"]: one for one in json.loads(shown)["findings"]}
            assert found["cluster"]["found"] == f"{cluster} is held by a, term 1"
            assert found["standbys"]["found"] == "b stands by"
            assert "synchronous_standby_names" in found["database"]["remedy"]
            _, shown, _ = await run("b", "doctor", "--json")
            found = {one["check"]: one for one in json.loads(shown)["findings"]}
            assert found["daemon"]["state"] == "ok"
            assert "stands by" in found["daemon"]["found"]

            port = (await a.wait_event("http.serving"))["port"]
            with trio.fail_after(60):  # one that was slow just now may be frozen a moment
                while True:
                    text = (await platform.http.get(f"http://127.0.0.1:{port}/metrics")).text
                    if "larkd_cluster_frozen 0.0" in text:
                        break
                    await trio.sleep(0.1)
            assert f'larkd_cluster_term{{cluster="{cluster}",node="a"}} 1.0' in text
            assert "larkd_cluster_standbys " in text


# ── one machine and several ─────────────────────────────────────────────────


def rows_of_file(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as db:
        tables = [
            name
            for (name,) in db.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table'"
                " AND name NOT LIKE 'sqlite_%' AND name <> 'meta'"
            )
        ]
        return {name: _in_order(db.execute(f'SELECT * FROM "{name}"')) for name in tables}  # noqa: S608


def rows_of_cluster(server: Server, cluster: str, tables: list[str]) -> Rows:
    with psycopg.connect(server.url()) as db:
        return {
            name: _in_order(
                db.execute(
                    sql.SQL("SELECT * FROM {}").format(sql.Identifier(f"larkd_{cluster}", name))
                )
            )
            for name in tables
        }


def _in_order(found: Any) -> list[tuple[Any, ...]]:
    """Return the rows, columns by name: an emptied ``card.text`` is text or bytes alike."""
    names = [column[0] for column in found.description]
    rows = [dict(sorted(zip(names, row, strict=True))) for row in found]
    return sorted(
        (tuple(b"" if value == "" else value for value in row.values()) for row in rows), key=repr
    )


def changed(after: Rows, before: Rows) -> Rows:
    """Return the rows of each table that are in one of the two alone."""
    found = {
        name: [row for row in after[name] if row not in before[name]]
        + [row for row in before[name] if row not in after[name]]
        for name in before
    }
    return {name: rows for name, rows in found.items() if rows}


async def test_a_journal_is_moved_into_a_cluster_and_back_whole(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        alone = root / "alone"
        await _used(platform, alone)
        tokens = {one.name: one.read_text() for one in (alone / "tokens").iterdir()}
        before = rows_of_file(alone / "larkd.db")
        assert before["inbound"]
        assert before["card"]

        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        config = root / "a.json"
        config.write_text(fleet.configuration("a", 1, Place()))
        words = ("journal", "move", "--config", str(config))
        at = {"LARKD_DATABASE": server.url()}
        status, shown, why = await larkd(*words, "--json", "--state-dir", str(alone), **at)
        assert (status, why) == (0, "")
        assert json.loads(shown) == {
            "version": 1,
            "cluster": cluster,
            "file": str(alone / f"larkd.db.moved-to-{cluster}"),
            "messages": len(before["inbound"]),
            "cards": len(before["card"]),
        }
        assert not (alone / "larkd.db").exists()
        assert changed(rows_of_cluster(server, cluster, list(before)), before) == {}
        status, _, why = await larkd(*words, "--state-dir", str(alone), **at)
        assert status == 1
        assert f"{alone} holds no journal" in why

        # It is served there, by another machine, with the same tokens.
        async with fleet.node("a") as a:
            await a.wait_ready()
            await platform.wait_connected()
            assert {p.name: p.read_text() for p in (a.state_dir / "tokens").iterdir()} == tokens
            async with session(a.state_dir, "boss", "dispatcher", capabilities=[]) as boss:
                await platform.send(await platform.chat(), "in the cluster")
                await boss.until("deliver", lambda one: one["content"] == "in the cluster")
                held = ("--back", "--state-dir", str(root / "back"))
                status, _, why = await larkd(*words, *held, **at)
                assert status == 1
                assert f"node a holds cluster {cluster}; stop its nodes first" in why
            a.signal(signal.SIGTERM)
            assert await a.process.wait() == 0

        there = rows_of_cluster(server, cluster, list(before))
        status, shown, why = await larkd(*words, "--back", "--state-dir", str(root / "back"), **at)
        assert (status, why) == (0, "")
        assert "take cluster out of the configuration" in shown
        assert changed(rows_of_file(root / "back" / "larkd.db"), there) == {}
        back = root / "back" / "tokens"
        assert {one.name: one.read_text() for one in back.iterdir()} == tokens
        async with (
            open_daemon(platform, root / "back"),
            session(root / "back", "boss", "dispatcher", capabilities=[]) as boss,
        ):
            await platform.send(await platform.chat(), "on one machine")
            await boss.until("deliver", lambda one: one["content"] == "on one machine")


async def _used(platform: Platform, state_dir: Path) -> None:
    """Let a daemon of one machine have something in its journal."""
    async with open_daemon(platform, state_dir) as daemon:
        async with session(state_dir, "boss", "dispatcher") as boss:
            await platform.send(await platform.chat(), "first")
            deliver = await boss.until("deliver")
            await boss.send(t="ack", event_id=deliver["event_id"], attempt=1)
            await boss.send(t="delta", turn_id=deliver["turn_id"], text="多语言")
            await boss.send(t="turn_end", turn_id=deliver["turn_id"], status="complete")
            await platform.wait_cards(1, "多语言", "Done")
            await platform.send(await platform.chat(), "second")
            await boss.until("deliver")
        await platform.send(await platform.chat(), "third")
        daemon.signal(signal.SIGTERM)
        await daemon.wait(within_s=60)
