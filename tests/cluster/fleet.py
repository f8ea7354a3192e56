"""Several clusters on several machines, each machine one ``larkd node DIR``."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import trio
from psycopg import sql

from tests.cluster.nodes import Certificates, Fleet, Place
from tests.cluster.sessions import Session
from tests.kit.daemon import Platform, environment, open_platform, whole_lines
from tests.kit.ports import free_port
from tests.kit.postgres import Server

Map = dict[str, Any]


class Machine:
    """One machine; its processes die with it."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.configurations = root / name
        self.state_dir = root / f"{name}-state"
        self.process: trio.Process

    async def start(self, database: str) -> None:
        output = (self.configurations.parent / f"{self.name}.out").open("wb")
        with output:
            self.process = await trio.lowlevel.open_process(
                [
                    *(sys.executable, "-m", "actors.cli", "node", str(self.configurations)),
                    *("--state-dir", str(self.state_dir)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment() | {"LARKD_DATABASE": database, "LARKD_NODE": self.name},
                start_new_session=True,
            )

    async def die(self) -> None:
        """All processes at once, as of a machine without power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    def log(self, cluster: str) -> str:
        return whole_lines(self.state_dir / cluster / "larkd.log")


class Cluster:
    """One cluster: its bot, its people and its sessions."""

    def __init__(
        self, name: str, platform: Platform, sessions: int, streaming: int, piece_s: float
    ) -> None:
        self.name = name
        self.platform = platform
        self.addresses: list[str] = []
        self.sessions = [
            Session("boss", lambda _seen: None, random.Random(name), piece_s=piece_s),
            *(
                Session(f"mate{number}", lambda _seen: None, random.Random(number), piece_s=piece_s)
                for number in range(1, sessions)
            ),
        ]
        self.streaming = streaming
        self.chats: list[Map] = []

    async def wait_registered(self, node: str, since: float) -> float:
        """Wait until all sessions are registered with *node*; return when the last was."""
        at = [await one.wait_registered(node, since) for one in self.sessions]
        return max(at)

    async def bind(self) -> None:
        """Let as many chats as turns are to run be with a session each."""
        for number in range(1, self.streaming + 1):
            chat = await self.platform.chat("p2p", f"Person {number}")
            self.chats.append(chat)
            await self.platform.send(chat, f"/use mate{number}")
        with trio.fail_after(60):
            for chat in self.chats:
                while len(await self.platform.messages(chat)) < 2:
                    await trio.sleep(0.1)

    def let_turns_end(self, may: bool) -> None:
        """Hold turns from now on before their last piece; or let them end, those held too."""
        for one in self.sessions:
            if may:
                one.may_end.set()
            else:
                one.may_end = trio.Event()

    async def ask_all(self) -> list[str]:
        """Let a person write in each chat; return the events."""
        return [(await self.platform.send(chat, "go on"))["event_id"] for chat in self.chats]

    def delivered(self) -> dict[str, int]:
        """Event to how often it was delivered."""
        found: dict[str, int] = {}
        for session in self.sessions:
            for given in session.given:
                found[given.event] = found.get(given.event, 0) + 1
        return found

    async def wait_delivered(self, events: list[str], within_s: float) -> None:
        missing = set(events)
        with trio.move_on_after(within_s):
            while missing := missing - self.delivered().keys():
                await trio.sleep(0.05)
        assert not missing, f"{self.name}: {len(missing)} of {len(events)} were not delivered"

    def whole(self) -> list[str]:
        """The texts of turns whose ends were taken."""
        return [text for one in self.sessions for text in one.whole.values()]

    async def wait_quiet(self, within_s: float) -> None:
        """Wait until no card runs."""
        running: set[str] = set()
        with trio.move_on_after(within_s):
            while running := await self.platform.running_cards():
                await trio.sleep(0.1)
        assert not running, f"{self.name}: {running} still run"


class Whole:
    """The fleet: machines and clusters."""

    def __init__(self, server: Server, machines: list[Machine], clusters: list[Cluster]) -> None:
        self._server = server
        self.machines = machines
        self.clusters = clusters

    def holders(self) -> dict[str, str | None]:
        """Cluster to node."""
        with psycopg.connect(self._server.url()) as database:
            return dict(database.execute("SELECT cluster, node FROM larkd.claim").fetchall())

    def of(self, node: str) -> list[Cluster]:
        """The clusters a node holds."""
        holders = self.holders()
        return [one for one in self.clusters if holders.get(one.name) == node]

    async def spread(self) -> None:
        """Move clusters until each machine holds as many."""
        for number, cluster in enumerate(self.clusters):
            to = self.machines[number % len(self.machines)].name
            with trio.fail_after(60):
                # Asked again where another was quicker: after 3 s any standby may take it.
                while self.holders()[cluster.name] != to:
                    self._want(cluster.name, to)
                    await trio.sleep(0.2)

    async def wait_noted(self, cluster: Cluster, events: list[str]) -> None:
        """Wait until each event's delivery is committed, and what its card shows noted."""
        schema = sql.Identifier(f"larkd_{cluster.name}")
        query = sql.SQL(
            "SELECT (SELECT count(*) FROM {0}.inbound"
            " WHERE event_id = ANY(%s) AND state = 'delivered'),"
            " (SELECT count(*) FROM {0}.card WHERE text <> '')"
        ).format(schema)
        with trio.fail_after(60):
            while True:
                with psycopg.connect(self._server.url()) as database:
                    noted = database.execute(query, (events,)).fetchone()
                if noted is not None and min(noted) >= len(events):
                    return
                await trio.sleep(0.05)

    def _want(self, cluster: str, to: str) -> None:
        with psycopg.connect(self._server.url(), autocommit=True) as database:
            database.execute(
                "UPDATE larkd.claim SET wanted = %s WHERE cluster = %s AND node IS NOT NULL",
                (to, cluster),
            )


@asynccontextmanager
async def open_fleet(
    server: Server,
    root: Path,
    tls: Certificates,
    *,
    clusters: int,
    machines: int,
    sessions: int,
    streaming: int,
    piece_s: float,
) -> AsyncIterator[Whole]:
    """Start machines that each may serve every cluster, and *sessions* for each cluster."""
    async with AsyncExitStack() as stack:
        all_clusters: list[Cluster] = []
        all_machines = [Machine(f"n{number}", root) for number in range(1, machines + 1)]
        for number in range(1, clusters + 1):
            platform = await stack.enter_async_context(open_platform())
            cluster = Cluster(f"fleet{number}", platform, sessions, streaming, piece_s)
            all_clusters.append(cluster)
            fleet = Fleet(platform, root, server.url(), cluster.name, tls)
            for person in range(1, streaming + 1):
                await platform.chat("p2p", f"Person {person}")
            members = [
                one for chat in (await platform.get("state"))["chats"] for one in chat["members"]
            ]
            for machine in all_machines:
                port = free_port()
                cluster.addresses.append(f"tls://localhost:{port}")
                machine.configurations.mkdir(exist_ok=True)
                text = json.loads(
                    fleet.configuration(machine.name, port, Place(), allowFrom=members)
                )
                del text["cluster"]["node"]  # LARKD_NODE names it, once for all of them
                (machine.configurations / f"{cluster.name}.json").write_text(json.dumps(text))
        for machine in all_machines:
            await machine.start(server.url())
            stack.push_async_callback(_end, machine)
        whole = Whole(server, all_machines, all_clusters)
        nursery = await stack.enter_async_context(trio.open_nursery())
        for cluster in all_clusters:
            tokens = await _tokens(whole, cluster)
            for session in cluster.sessions:
                nursery.start_soon(session.run, cluster.addresses, tls, tokens)
        yield whole
        nursery.cancel_scope.cancel()


async def _tokens(whole: Whole, cluster: Cluster) -> Path:
    """Wait until the cluster was claimed; return where its holder wrote the tokens."""
    with trio.fail_after(120):
        while True:
            for machine in whole.machines:
                tokens = machine.state_dir / cluster.name / "tokens"
                if whole_tables(whole) and whole.holders().get(cluster.name) == machine.name:
                    return tokens
            await trio.sleep(0.1)


def whole_tables(whole: Whole) -> bool:
    with psycopg.connect(whole._server.url()) as database:
        row = database.execute("SELECT to_regclass('larkd.claim')").fetchone()
        return row != (None,)


async def _end(machine: Machine) -> None:
    if machine.process.returncode is None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 60):
            await machine.die()
