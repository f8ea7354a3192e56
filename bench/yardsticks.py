"""What a figure is compared with, measured in the same run: ratios travel between machines.

One SQLite commit of the row that an event becomes, and a bare Trio loop that reads the
same frames and acks them, without a journal, a session or a proxy.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import trio

from actors.feishu.http import Platform
from actors.feishu.socket import Socket, SocketLimits, run_socket
from actors.messages import gateway
from bench.loopback import Process, start
from protocol.platform import longconn
from protocol.platform.outcomes import EndpointFound

COMMITS = 300
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


def one_commit(folder: Path) -> Commit:
    """Measure a commit of one event's row, beside an index as the journal has them."""
    database = sqlite3.connect(folder / "yardstick.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute(
        "CREATE TABLE row (id INTEGER PRIMARY KEY, event_id TEXT UNIQUE, message TEXT UNIQUE,"
        " state INTEGER, payload BLOB)"
    )
    wall, cpu = time.perf_counter(), time.process_time()
    for number in range(COMMITS):
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            "INSERT INTO row (event_id, message, state, payload) VALUES (?, ?, 0, ?)",
            (f"event-{number}", f"om_{number}", bytes(PAYLOAD_BYTES)),
        )
        database.execute("COMMIT")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    database.close()
    return Commit(cpu_ms=cpu / COMMITS * 1000, wall_ms=wall / COMMITS * 1000)


async def bare_loop(events: int, at_once: int) -> Bare:
    """Let a bare client take as many events as the daemon did, of a sandbox of its own."""
    async with _open_bare() as (client, http, chats):
        cpu, since = client.cpu_s(), trio.current_time()
        body = {"chat_ids": chats, "count": events, "at_once": at_once}
        (await http.post("/flood", json=body)).raise_for_status()
        took_s = trio.current_time() - since
        return Bare(cpu_ms=(client.cpu_s() - cpu) / events * 1000, events_per_s=events / took_s)


@asynccontextmanager
async def _open_bare() -> AsyncIterator[tuple[Process, httpx.AsyncClient, list[str]]]:
    sandbox, lines = await start(["actors.sandbox", "--no-limits"], lambda text: "appId" in text)
    base_url = next(line for line in lines if line.startswith("domain ")).split()[1]
    app_id, secret = lines[-1].split()[1], lines[-1].split()[3]
    token = next(line for line in lines if "chat page " in line).rpartition("token=")[2]
    client, _ = await start(
        ["bench.yardsticks", base_url, app_id, secret], lambda text: "connected" in text
    )
    headers = {"X-Sandbox-Token": token}
    try:
        async with httpx.AsyncClient(
            base_url=f"{base_url}/sandbox", headers=headers, timeout=60, trust_env=False
        ) as http:
            user = (await http.post("/users", json={"name": "Alice"})).json()
            chat = {"type": "p2p", "name": "Alice", "members": [user["open_id"]]}
            made = (await http.post("/chats", json=chat)).json()
            yield client, http, [made["chat_id"]]
    finally:
        with trio.move_on_after(10, shield=True):
            for one in (client, sandbox):
                one.process.terminate()
                await one.process.wait()


async def ack_all(base_url: str, app_id: str, secret: str) -> None:
    """Be the bare client: read frames, ack each at once, do nothing else."""

    async def serve(socket: Socket) -> None:
        print("connected", flush=True)
        while (event := await socket.receive()) is not None:
            await socket.send(longconn.ack(event.frame, took_ms=0))

    async with Platform(base_url, app_id, secret) as platform:
        found = await platform.perform(gateway.DiscoverEndpoint())
    assert isinstance(found, EndpointFound), found
    await run_socket(found.url, found.client_config, serve, limits=SocketLimits())


if __name__ == "__main__":
    _base_url, _app_id, _secret = sys.argv[1:]
    trio.run(ack_all, _base_url, _app_id, _secret)
