"""Whole processes, given whatever lines: they go on, and answer what is asked properly."""

from __future__ import annotations

import random
from pathlib import Path

import trio
from trio.testing import memory_stream_one_way_pair

from actors.proxies.rpc import REQUESTS_AT_ONCE_MAX, REQUESTS_WAITING_MAX, Peer
from protocol.agents import jsonrpc
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS
from tests.kit.daemon import environment
from tests.kit.sizes import NIGHTLY
from tests.kit.stdio_process import larkd, open_stdio

LINES = 20_000 if NIGHTLY else 500


async def test_an_mcp_server_goes_on_whatever_its_client_writes(
    state_dir: Path, tmp_path: Path
) -> None:
    _, seeds = TARGETS["mcp_lines"]
    env = environment() | {"LARKD_STATE_DIR": str(state_dir), "LARKD_AUTOSTART": "0"}
    asked = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[{}]}}\n'
    permission = seeds[-1] + b"\n"
    async with open_stdio(larkd("mcp"), env, tmp_path) as server, trio.open_nursery() as nursery:
        answered = trio.Event()

        async def read() -> None:
            await server.until(lambda one: one.get("id") == "the last", within_s=60)
            answered.set()

        nursery.start_soon(read)
        await server.send_bytes(asked + permission * 300)
        for number in range(LINES):
            await server.send_bytes(mutated(random.Random(number), seeds) + b"\n")
        await server.send(id="the last", method="ping")
        with trio.fail_after(60):
            await answered.wait()


async def test_of_very_many_requests_at_once_some_are_refused() -> None:
    to_peer, from_us = memory_stream_one_way_pair()
    to_us, from_peer = memory_stream_one_way_pair()
    free = trio.Event()

    async def slow(_method: str, _params: object) -> object:
        await free.wait()
        return {}

    async def ignore(_method: str, _params: object) -> None:
        await trio.lowlevel.checkpoint()

    peer = Peer(to_peer, from_peer, on_notification=ignore, on_request=slow)
    most = REQUESTS_AT_ONCE_MAX + REQUESTS_WAITING_MAX
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run)
        for number in range(most + 10):
            await to_us.send_all(jsonrpc.encode(jsonrpc.request(number, "m", {})))
            await trio.testing.wait_all_tasks_blocked()
        refused = bytes(await from_us.receive_some())
        assert refused.count(f"over {most} requests at once".encode()) >= 1
        free.set()
        nursery.cancel_scope.cancel()
