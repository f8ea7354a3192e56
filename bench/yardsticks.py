"""What a figure is compared with, measured in the same run: ratios travel between machines.

One SQLite commit of the row that an event becomes, and a bare Trio loop that reads the
same frames and acks them, without a journal, a session or a proxy. They are measured in
rounds, between those of what is compared with them, and the medians are compared: how fast
a disk and a processor are changes within minutes.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import msgspec
import trio

from actors.feishu.http import Platform
from actors.feishu.socket import Socket, SocketLimits, run_socket
from actors.journal.sqlite import SqliteStore
from actors.messages import gateway
from bench.loopback import Process, start
from protocol.platform import longconn
from protocol.platform.outcomes import EndpointFound

COMMITS = 200
PAYLOAD_BYTES = 900
"""As large as a pushed message with its envelope."""


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One commit with full durability; milliseconds."""

    cpu_ms: float
    wall_ms: float


class Bare(msgspec.Struct, frozen=True, kw_only=True):
    """The bare loop, for one event."""

    cpu_ms: float
    events_per_s: float


class CommitYardstick:
    """Commits of the row that an event becomes: the journal's tables, indexes and durability.

    What of it is the journal's actor, its thread and its questions is left out.
    """

    def __init__(self, path: Path) -> None:
        self._store = SqliteStore.open(path)
        self._number = itertools.count()

    def measure(self, commits: int = COMMITS) -> Commit:
        """Make so many commits, one row each."""
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(commits):
            self.commit(bytes(PAYLOAD_BYTES))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return Commit(cpu_ms=cpu / commits * 1000, wall_ms=wall / commits * 1000)

    def commit(self, payload: bytes) -> None:
        """Commit one row."""
        database, number = self._store.connection, next(self._number)
        database.execute("BEGIN IMMEDIATE")
        found = database.execute(
            "INSERT INTO inbound (account, event_id, message_key, kind, state, received_at,"
            " changed_at) VALUES ('default', ?, ?, 'message', 'received', ?, ?)",
            (f"event-{number:032}", f"om_{number:032}", number, number),
        )
        database.execute(
            "INSERT INTO content (row_id, payload) VALUES (?, ?)", (found.lastrowid, payload)
        )
        database.execute("COMMIT")

    def close(self) -> None:
        self._store.close()


class BareLoop:
    """A bare client that takes events of a sandbox of its own, as many as the daemon did."""

    def __init__(self, client: Process, http: httpx.AsyncClient, chats: list[str]) -> None:
        self._client = client
        self._http = http
        self._chats = chats

    async def measure(self, events: int, at_once: int) -> Bare:
        cpu, since = self._client.cpu_s(), trio.current_time()
        body = {"chat_ids": self._chats, "count": events, "at_once": at_once}
        (await self._http.post("/flood", json=body)).raise_for_status()
        took_s = trio.current_time() - since
        cpu_ms = (self._client.cpu_s() - cpu) / events * 1000
        return Bare(cpu_ms=cpu_ms, events_per_s=events / took_s)


@asynccontextmanager
async def open_bare_loop(journal: Path | None = None) -> AsyncIterator[BareLoop]:
    """Connect a bare client to a sandbox of its own; with *journal* it stores what it reads."""
    sandbox, lines = await start(["actors.sandbox", "--no-limits"], lambda text: "appId" in text)
    base_url = next(line for line in lines if line.startswith("domain ")).split()[1]
    app_id, secret = lines[-1].split()[1], lines[-1].split()[3]
    token = next(line for line in lines if "chat page " in line).rpartition("token=")[2]
    client, _ = await start(
        [
            "bench.yardsticks",
            base_url,
            app_id,
            secret,
            *([] if journal is None else [str(journal)]),
        ],
        lambda text: "connected" in text,
    )
    headers = {"X-Sandbox-Token": token}
    try:
        async with httpx.AsyncClient(
            base_url=f"{base_url}/sandbox", headers=headers, timeout=60, trust_env=False
        ) as http:
            user = (await http.post("/users", json={"name": "Alice"})).json()
            chat = {"type": "p2p", "name": "Alice", "members": [user["open_id"]]}
            made = (await http.post("/chats", json=chat)).json()
            yield BareLoop(client, http, [made["chat_id"]])
    finally:
        with trio.move_on_after(10, shield=True):
            for one in (client, sandbox):
                one.process.terminate()
                await one.process.wait()


async def ack_all(base_url: str, app_id: str, secret: str, journal: str = "") -> None:
    """Be the bare client: read frames, ack each at once, do nothing else.

    With *journal* decode and commit each before: what no program of this kind can leave out.
    """
    store = CommitYardstick(Path(journal)) if journal else None

    async def serve(socket: Socket) -> None:
        print("connected", flush=True)
        while (event := await socket.receive()) is not None:
            if store is not None:
                msgspec.json.decode(event.payload)
                store.commit(event.payload)
            await socket.send(longconn.ack(event.frame, took_ms=0))

    async with Platform(base_url, app_id, secret) as platform:
        found = await platform.perform(gateway.DiscoverEndpoint())
    assert isinstance(found, EndpointFound), found
    await run_socket(found.url, found.client_config, serve, limits=SocketLimits())


if __name__ == "__main__":
    trio.run(partial(ack_all, *sys.argv[1:]))
