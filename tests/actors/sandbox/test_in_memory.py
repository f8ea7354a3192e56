"""The sandbox without sockets, under a virtual clock: what a simulation stands on."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio
import trio_websocket as ws
from trio.testing import MockClock, memory_stream_pair

from actors.sandbox import frames
from actors.sandbox.access import TOKEN_HEADER
from actors.sandbox.clock import Clock
from actors.sandbox.platform import PlatformSettings, Sandbox, open_sandbox

BASE = "http://platform.test"
NOON_NS = 1_700_000_000 * 10**9


class Memory:
    """A sandbox, a client of its HTTP, and connections over memory streams."""

    def __init__(self, sandbox: Sandbox, http: httpx.AsyncClient) -> None:
        self.sandbox = sandbox
        self.http = http

    async def post(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(f"{BASE}/{path}", json=body)
        return answer.json()

    async def connect(self, nursery: trio.Nursery) -> ws.WebSocketConnection:
        settings = self.sandbox.settings
        credentials = {"AppID": settings.app_id, "AppSecret": settings.app_secret}
        url = (await self.post("callback/ws/endpoint", **credentials))["data"]["URL"]
        ours, theirs = memory_stream_pair()
        nursery.start_soon(self.sandbox.accept, theirs)
        path = url.removeprefix("ws://platform.test")
        stream: Any = ours  # its annotation knows sockets only
        socket = await ws.wrap_client_stream(nursery, stream, "platform.test", path)
        await socket.send_message(frames.encode(frames.Frame(headers={"type": "ping"})))
        assert frames.decode(await binary(socket)).headers["type"] == "pong"
        return socket


async def binary(socket: ws.WebSocketConnection) -> bytes:
    message = await socket.get_message()
    assert isinstance(message, bytes)
    return message


@asynccontextmanager
async def open_memory(seed: int) -> AsyncIterator[Memory]:
    settings = PlatformSettings(hosts=frozenset({"platform.test"}))
    began = trio.current_time()
    clock = Clock(wall_ns=lambda: NOON_NS + int((trio.current_time() - began) * 10**9))
    async with open_sandbox(settings, clock=clock, rng=random.Random(seed)) as sandbox:
        sandbox.located(BASE, "ws://platform.test")
        headers = {TOKEN_HEADER: sandbox.settings.token}
        transport = httpx.ASGITransport(app=sandbox.site)
        async with httpx.AsyncClient(transport=transport, headers=headers) as http:
            yield Memory(sandbox, http)


async def history(seed: int) -> list[Any]:
    """A message pushed over memory, re-pushed on the platform's schedule, then acked."""
    seen: list[Any] = []
    async with open_memory(seed) as memory, trio.open_nursery() as nursery:
        socket = await memory.connect(nursery)
        state = (await memory.http.get(f"{BASE}/sandbox/state")).json()
        sent = await memory.post("sandbox/send", chat_id=state["chats"][0]["chat_id"], text="hi")
        began, frame = trio.current_time(), frames.Frame()
        for _ in range(3):
            frame = frames.decode(await binary(socket))
            pushed = json.loads(frame.payload)
            at = round(trio.current_time() - began, 3)
            seen.append([at, frame.headers, pushed["header"]["create_time"], sent["event_id"]])
        frame.payload = b'{"code":200}'
        await socket.send_message(frames.encode(frame))
        await trio.testing.wait_all_tasks_blocked()
        events = (await memory.http.get(f"{BASE}/sandbox/events")).json()
        seen.append([one["state"] for one in events])
        nursery.cancel_scope.cancel()
    return seen


def test_hours_of_the_platforms_clock_take_no_time_and_a_seed_repeats_them() -> None:
    runs = [trio.run(history, seed, clock=MockClock(autojump_threshold=0.01)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2], "another seed, other ids"
    # Pushed, 3 s for the ack, then after 15 s and after 5 min.
    assert [seen[0] for seen in runs[0][:3]] == [0.0, 18.0, 321.0]
    assert runs[0][3] == ["delivered"]
    assert runs[0][0][2] == str(NOON_NS // 10**6)


def test_two_platforms_in_one_process_know_nothing_of_each_other() -> None:
    async def both() -> None:
        async with open_memory(1) as one, open_memory(2) as other:
            await one.post("sandbox/users", name="Carol")
            names = [user.name for user in other.sandbox.world.users.values()]
            assert names == ["Alice", "Bob"]

    trio.run(both, clock=MockClock(autojump_threshold=0.01))
