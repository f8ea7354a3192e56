"""One node serves, the others stand by, and one of them serves when it is gone."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import trio
import trio.testing

from tests.cluster.edges import open_edge
from tests.cluster.nodes import Certificates, Fleet, echoing
from tests.cluster.sessions import Session
from tests.kit.daemon import Platform, open_platform
from tests.kit.postgres import Server, running
from tests.kit.raw_proxy import session
from tests.kit.sizes import NIGHTLY

CONNECTIONS_AFTER_SILENCE = 4


async def connections(platform: Platform) -> int:
    """Count the long connections that get pushes."""
    return sum(bool(one["pings"]) for one in await platform.get("connections"))


async def test_a_holder_that_leaves_in_order_frees_the_cluster_at_once(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with fleet.pair() as (a, b):
            await platform.wait_connected()
            of_a = await platform.connections()
            a.signal(signal.SIGTERM)
            assert await a.process.wait() == 0
            await b.wait_ready()
            assert (await b.wait_event("cluster.claimed"))["by_silence"] is False
            await platform.wait_connected(beside=of_a)
            with trio.fail_after(60):
                while of_a & await platform.connections():
                    await trio.sleep(0.02)
            assert await connections(platform) == 1


async def test_a_holder_that_was_stopped_and_goes_on_stands_by(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with fleet.pair() as (a, b):
            a.signal(signal.SIGSTOP)
            await b.wait_ready()
            a.signal(signal.SIGCONT)
            await a.wait_event("cluster.lost")
            await a.wait_standing_by(count=2)
            await b.kill()
            await a.wait_ready(count=2)


async def test_when_the_holder_is_killed_every_proxy_follows_and_no_message_is_lost(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    names = ["boss", *(f"mate{number}" for number in range(5))]
    async with open_platform(clock_scale=2) as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with fleet.pair() as (a, b), echoing([a, b], names, certificates) as proxies:
            await platform.wait_connected()
            for proxy in proxies:
                await proxy.wait_registered("a")
            chat = await platform.chat()
            await platform.send(chat, "before")
            await platform.wait_cards(1, "echo: before", "Done")
            await a.kill()
            gap = await platform.send(chat, "in the gap")
            for proxy in proxies:
                await proxy.wait_registered("b")
            claimed = await b.wait_event("cluster.claimed")
            assert (claimed["term"], claimed["by_silence"], claimed["before"]) == (2, True, "a")
            await platform.wait_connected()
            # The platform's own next push may be minutes away, where this took long.
            await platform.post("push", repeat_event_id=gap["event_id"])
            async with session(b.state_dir, "other") as other:
                with trio.fail_after(60):  # one that was slow just now may be frozen a moment
                    while True:
                        status = (await other.tool("feishu_channel_status"))["result"]
                        daemon = status["daemon"]
                        if daemon["hold"] == "holding":
                            break
                        await trio.sleep(0.1)
                assert (daemon["cluster"], daemon["node"], daemon["term"]) == (cluster, "b", 2)
                assert status["standbys"] == []
            await platform.send(chat, "after")
            await platform.wait_cards(1, "echo: after", "Done")
            await platform.wait_cards(1, "echo: in the gap", "Done", within_s=60)
            # The dead may live on, stopped, and get its share of the pushes.
            with trio.fail_after(60):
                while (served := await connections(platform)) != CONNECTIONS_AFTER_SILENCE:
                    assert served < CONNECTIONS_AFTER_SILENCE
                    await trio.sleep(0.1)


async def test_moving_brings_the_cluster_to_the_node_that_was_named(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with (
            fleet.node("a") as a,
            echoing([a], ["boss"], certificates) as (boss,),
        ):
            await a.wait_ready()
            await boss.wait_registered("a")
            status, _, why = await fleet.command("a", "move")
            assert (status, why) == (1, "larkd move: no standby\n")
            async with fleet.node("b") as b, fleet.node("c") as c:
                await b.wait_standing_by()
                await c.wait_standing_by()
                status, _, why = await fleet.command("a", "move", "--to", "nobody")
                assert (status, why[:36]) == (1, "larkd move: no standby nobody; there")
                status, moved, _ = await fleet.command("a", "move", "--to", "c", "--json")
                found = {"version": 1, "cluster": cluster, "node": "c", "term": 2}
                assert (status, json.loads(moved)) == (0, found)
                await c.wait_ready()
                status, listed, _ = await fleet.command("b", "clusters", "--json")
                (mine,) = [
                    one for one in json.loads(listed)["clusters"] if one["cluster"] == cluster
                ]
                assert (status, mine["node"], mine["term"]) == (0, "c", 2)
                await a.wait_standing_by(count=2)
                # Its only address is a's; it learns where c is.
                await boss.wait_registered("c")
                assert not [one for one in await b.events() if one["event"] == "cluster.claimed"]
                # Without a name it is the standby seen last.
                status, moved, _ = await fleet.command("a", "move")
                assert status == 0
                assert moved.removesuffix(f" holds {cluster} now, term 3\n") in ("node a", "node b")


AWAY_S = 20.0 if NIGHTLY else 1.0
"""After the holder froze: in all longer than a standby waits for a silent holder."""


async def test_a_database_that_is_away_for_a_while_freezes_the_holder_and_no_more(
    certificates: Certificates, cluster: str, root: Path
) -> None:
    boss = Session("boss", lambda _seen: None, random.Random(1), piece_s=max(AWAY_S / 3, 0.6))
    with running() as server:
        async with open_platform(clock_scale=2) as platform, trio.open_nursery() as nursery:
            fleet = Fleet(platform, root, server.url(), cluster, certificates)
            async with fleet.pair() as (a, b):
                addresses, tokens = [a.tls_address, b.tls_address], a.state_dir / "tokens"
                nursery.start_soon(boss.run, addresses, certificates, tokens)
                with trio.fail_after(60):
                    await boss.wait_registered("a", 0.0)
                    # Until the holder knows its standby.
                    while not (await boss.status() or {}).get("standbys"):
                        await trio.sleep(0.1)
                await platform.wait_connected()
                sent = await platform.send(await platform.chat(), "answer me")
                await platform.wait_cards(1, "to ")
                server.stop("immediate")
                await a.wait_event("cluster.frozen")
                await trio.sleep(AWAY_S)  # it asks its standby, which sees nobody else
                server.start()
                await a.wait_event("cluster.thawed")
                await platform.wait_connected()
                # The turn that ran ends whole, and the next one is as any.
                event = sent["event_id"]
                await platform.wait_cards(1, f"to {event}", "and done", "Done", within_s=60)
                sent = await platform.send(await platform.chat(), "and on")
                event = sent["event_id"]
                await platform.wait_cards(1, f"to {event}", "and done", "Done", within_s=60)
                assert len(boss.registered) == 1, "the proxy stayed"
                assert (await b.log()).count("cluster.claimed") == 0
                nursery.cancel_scope.cancel()


async def test_a_standby_whose_database_answers_nothing_any_more_ends_when_it_is_asked_to(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform, trio.open_nursery() as nursery:
        edge = await open_edge(nursery, server.port)
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        through = server.url().replace(str(server.port), str(edge.port))
        async with fleet.node("a") as a:
            await a.wait_ready()
            async with fleet.node("b", database=through) as b:
                await b.wait_standing_by()
                edge.let("stop")
                b.signal(signal.SIGTERM)
                with trio.fail_after(60):
                    assert await b.process.wait() == 0
        nursery.cancel_scope.cancel()


async def test_a_node_that_its_database_refuses_ends_with_the_reason(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with fleet.node("a", database=server.url().replace("only", "wrong")) as a:
            with trio.fail_after(60):
                assert await a.process.wait() == 1
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert b"correct user and password in cluster.database" in a.errors
            assert b"Traceback" not in a.errors
        async with fleet.node("b") as b:
            await b.wait_ready()
            async with fleet.node("b2", name_in_cluster="b") as same:
                with trio.fail_after(60):
                    assert await same.process.wait() == 1
                await trio.testing.wait_all_tasks_blocked(0.1)
                assert b"another larkd already runs as node b" in same.errors
