"""What is written of several machines, seen from outside: raw frames over TLS, and SQL."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import trio

from tests.cluster.nodes import Certificates, Fleet, Node
from tests.kit.daemon import open_platform
from tests.kit.postgres import Server
from tests.kit.raw_proxy import RawProxy, connect

Map = dict[str, Any]
WITHIN_S = 60.0
WATCHED_S = 3.0
TABLES = {
    "claim": [
        ("cluster", "text", "NO", None),
        ("term", "bigint", "NO", "0"),
        ("mark", "bigint", "NO", "0"),
        ("batch", "bigint", "NO", "0"),
        ("node", "text", "YES", None),
        ("addresses", "jsonb", "NO", "'[]'::jsonb"),
        ("wanted", "text", "YES", None),
        ("tokens", "bigint", "NO", "0"),
        ("beat_at", "timestamp with time zone", "YES", None),
    ],
    "standby": [
        ("cluster", "text", "NO", None),
        ("node", "text", "NO", None),
        ("addresses", "jsonb", "YES", None),
        ("version", "text", "YES", None),
        ("seen_at", "timestamp with time zone", "YES", None),
    ],
    "token": [
        ("cluster", "text", "NO", None),
        ("role", "text", "NO", None),
        ("key", "text", "NO", None),
    ],
}


@asynccontextmanager
async def over_tls(node: Node, tls: Certificates) -> AsyncIterator[RawProxy]:
    host, _, port = node.tls_address.removeprefix("tls://").rpartition(":")
    context = ssl.create_default_context(cafile=str(tls.ca))
    stream = await trio.open_ssl_over_tcp_stream(host, int(port), ssl_context=context)
    async with stream:
        yield RawProxy(stream)


def asked(server: Server, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.url()) as database:
        return database.execute(query.encode(), values).fetchall()


async def test_frames_tables_and_files_are_as_written(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with fleet.pair() as (a, b):
            with trio.fail_after(WITHIN_S):
                while not asked(server, "SELECT 1 FROM larkd.standby WHERE cluster = %s", cluster):
                    await trio.sleep(0.05)

            # A standby refuses first, on both of its addresses, and closes.
            refused = {
                "t": "refused",
                "code": "standby",
                "message": f"node b stands by for cluster {cluster}",
                "at": [a.tls_address],
                "node": "a",
                "retry_after_ms": 250,
            }
            async with over_tls(b, certificates) as proxy:
                assert await proxy.wait_closed(within_s=WITHIN_S) == [refused]
            async with connect(b.state_dir) as proxy:
                assert await proxy.wait_closed(within_s=WITHIN_S) == [refused]

            for node in (a, b):
                published = json.loads((node.state_dir / "daemon.json").read_text())
                assert (published["cluster"], published["node"]) == (cluster, node.name)
                assert published["addresses"] == [node.tls_address]

            _tables(server, cluster)
            await _server_load(server, cluster)

            # The holder names where it is, and when it leaves, where to go.
            async with over_tls(a, certificates) as proxy:
                answer = await proxy.register(a.state_dir, "s")
                assert (answer["t"], answer["cluster"], answer["node"]) == (
                    "registered",
                    cluster,
                    "a",
                )
                assert answer["generation"] == 1
                with trio.fail_after(WITHIN_S):  # until the holder knows its standby
                    while not (await proxy.tool("feishu_channel_status"))["result"]["standbys"]:
                        await trio.sleep(0.1)
                status, printed, _ = await fleet.command("a", "move")
                assert (status, printed) == (0, f"node b holds {cluster} now, term 2\n")
                bye = next(
                    one for one in await proxy.wait_closed(within_s=WITHIN_S) if one["t"] == "bye"
                )
                assert (bye["reason"], bye["at"]) == ("shutdown", [b.tls_address])
            await b.wait_ready()
            for logged in ("cluster.claimed", "cluster.released", "journal.not_replicated"):
                await a.wait_event(logged)
            a.signal(signal.SIGTERM)
            with trio.fail_after(WITHIN_S):
                assert await a.process.wait() == 0
            status, _, why = await fleet.command("b", "move", "--to", "a")
            assert (status, why) == (1, "larkd move: no standby a\n")


def _tables(server: Server, cluster: str) -> None:
    for table, columns in TABLES.items():
        found = asked(
            server,
            "SELECT column_name, data_type, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'larkd' AND table_name = %s"
            " ORDER BY ordinal_position",
            table,
        )
        assert found == columns
    ((options,),) = asked(
        server, "SELECT reloptions FROM pg_class WHERE oid = 'larkd.claim'::regclass"
    )
    assert options == ["fillfactor=50"]
    claim = "SELECT term, node, wanted FROM larkd.claim WHERE cluster = %s"
    assert asked(server, claim, cluster) == [(1, "a", None)]
    roles = "SELECT role FROM larkd.token WHERE cluster = %s ORDER BY role"
    assert asked(server, roles, cluster) == [("dispatcher",), ("observer",), ("session",)]
    schema = "SELECT to_regclass(%s) IS NOT NULL"
    assert asked(server, schema, f"larkd_{cluster}.inbound") == [(True,)]
    names = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE application_name LIKE %s"
    assert sorted(asked(server, names, f"larkd/{cluster}@%")) == [
        (f"larkd/{cluster}@a",),
        (f"larkd/{cluster}@b",),
    ]


async def _server_load(server: Server, cluster: str) -> None:
    """Idle, a holder commits twice a second, each batch one higher, and by one connection."""
    query = "SELECT batch FROM larkd.claim WHERE cluster = %s"
    began = trio.current_time()
    ((before,),) = asked(server, query, cluster)
    await trio.sleep(WATCHED_S)
    ((after,),) = asked(server, query, cluster)
    # From before the first look to after the last: however long the two took.
    assert after - before <= 2 * (trio.current_time() - began) + 1
    with trio.fail_after(WITHIN_S):
        while asked(server, query, cluster) == [(before,)]:
            await trio.sleep(0.1)
    connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s"
    assert asked(server, connections, f"larkd/{cluster}@%") == [(2,)]
