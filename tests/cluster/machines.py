"""A machine of a cluster: its node, started again when it is dead, and a relay on each edge."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import trio

from tests.cluster.edges import Edge, open_edge
from tests.cluster.nodes import Fleet, Node, Place
from tests.kit.daemon import Platform
from tests.kit.ports import free_port
from tests.kit.postgres import PASSWORD, USER, Server


class Machine:
    """One machine; :attr:`node` is its process now, or the last one."""

    node: Node

    def __init__(
        self,
        name: str,
        databases: Sequence[Edge],
        platform: Sequence[Edge],
        proxies: Edge,
        place: Place,
    ) -> None:
        self.name = name
        self.databases = databases
        self.platform = platform
        """The HTTP API, and the long connections."""
        self.proxies = proxies
        self.place = place
        self.may_start = trio.Event()
        """While it is not set, a process that ended is not started again."""
        self.may_start.set()
        self.ready: list[float] = []
        """When its ready lines came, of all its processes."""
        self.changed = trio.Event()

    @property
    def url(self) -> str:
        """The connection string, through the relays."""
        hosts = ",".join("127.0.0.1" for _ in self.databases)
        ports = ",".join(str(edge.port) for edge in self.databases)
        return f"host={hosts} port={ports} user={USER} password='{PASSWORD}' dbname=postgres"

    @property
    def calls(self) -> list[tuple[float, str]]:
        """The calls it began, with the time of each."""
        return self.platform[0].calls

    async def keep(
        self, fleet: Fleet, *, task_status: trio.TaskStatus[None], **options: Any
    ) -> None:
        """Run its process again and again, until cancelled. Started when the first one is."""
        while True:
            await self.may_start.wait()
            async with fleet.node(
                self.name, place=self.place, database=self.url, **options
            ) as self.node:
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._note_ready, self.node)
                    await self.node.process.wait()
                    nursery.cancel_scope.cancel()

    async def _note_ready(self, node: Node) -> None:
        count = 0
        while True:
            count += 1
            self.ready.append(await node.wait_ready(count=count, within_s=10_000))
            self.changed.set()
            self.changed = trio.Event()

    async def kill(self) -> None:
        """SIGKILL; it stays away until :attr:`may_start` is set."""
        self.may_start = trio.Event()
        await self.node.kill()

    def stop(self) -> None:
        self.node.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.node.signal(signal.SIGCONT)


@asynccontextmanager
async def open_machine(
    name: str, servers: Sequence[Server], platform: Platform, variables: dict[str, str]
) -> AsyncIterator[Machine]:
    """Relays around a machine; its process is started by :meth:`Machine.keep`."""
    sockets_port = int(urlsplit(platform.running.sockets.url).port or 0)
    tls_port = free_port()
    async with trio.open_nursery() as nursery:
        databases = [await open_edge(nursery, one.port) for one in servers]
        sockets = await open_edge(nursery, sockets_port)
        api = await open_edge(
            nursery,
            int(urlsplit(platform.base_url).port or 0),
            # The address of long connections, in an answer whose length is sent before.
            {f"127.0.0.1:{sockets_port}".encode(): f"127.0.0.1:{sockets.port}".encode()},
            answers=True,
        )
        proxies = await open_edge(nursery, tls_port)
        place = Place(
            tls_port=tls_port,
            advertise=f"tls://localhost:{proxies.port}",
            platform_url=f"http://127.0.0.1:{api.port}",
            module="tests.cluster.drifting" if variables else "actors.daemon",
            variables=variables,
        )
        yield Machine(name, databases, (api, sockets), proxies, place)
        nursery.cancel_scope.cancel(reason="the machine is not needed any more")
