"""One node serves, the others stand by, and one of them serves when it is gone."""

from __future__ import annotations

import signal
from pathlib import Path

import trio

from tests.cluster.nodes import Certificates, Fleet
from tests.kit.daemon import open_platform
from tests.kit.postgres import Server
from tests.kit.raw_proxy import session


async def test_a_standby_serves_when_the_holder_was_killed(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with fleet.node("a") as a:
            await a.wait_ready()
            async with fleet.node("b") as b:
                await b.wait_standing_by()
                await platform.wait_connected()
                await a.kill()
                killed_at = trio.current_time()
                await b.wait_ready()
                claimed = await b.wait_event("cluster.claimed")
                assert (claimed["term"], claimed["by_silence"], claimed["before"]) == (2, True, "a")
                await platform.wait_connected()
                async with session(b.state_dir, "boss", "dispatcher", capabilities=[]) as boss:
                    await platform.send(await platform.chat(), "still there?")
                    assert (await boss.until("deliver"))["content"] == "still there?"
                assert b.lines[-1][0] - killed_at < 10


async def test_a_holder_that_leaves_in_order_frees_the_cluster_at_once(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with fleet.node("a") as a:
            await a.wait_ready()
            async with fleet.node("b") as b:
                await b.wait_standing_by()
                a.signal(signal.SIGTERM)
                assert await a.process.wait() == 0
                left_at = trio.current_time()
                assert await b.wait_ready() - left_at < 3
                assert (await b.wait_event("cluster.claimed"))["by_silence"] is False


async def test_a_holder_that_was_stopped_and_goes_on_stands_by(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with fleet.node("a") as a:
            await a.wait_ready()
            async with fleet.node("b") as b:
                await b.wait_standing_by()
                a.signal(signal.SIGSTOP)
                await b.wait_ready()
                a.signal(signal.SIGCONT)
                await a.wait_event("cluster.lost")
                await a.wait_standing_by(count=2)
                await b.kill()
                await a.wait_ready(count=2)
