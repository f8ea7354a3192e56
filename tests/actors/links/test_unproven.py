"""Connections that have proved nothing: no task for each, and no flood keeps a proof waiting."""

from __future__ import annotations

import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors import links
from actors.kit.listening import Borrowed
from actors.kit.peer_user import Addressed, PeerUsers
from actors.links.capacity import (
    UNREGISTERED_MAX,
    WAITS_AT_LEAST_S,
    ConnectionLimits,
    Places,
)
from actors.links.settings import LinkSettings
from actors.links.unproven import AT_ONCE, EARLY_READ_BYTES, Opened, Rate, Unproven
from actors.messages import ownership
from protocol.ids import ConnectionId
from protocol.wire import messages as wire
from protocol.wire.auth import Verified

REGISTER = {
    "t": "register",
    "protocol": 1,
    "session_id": "s",
    "role": "session",
    "proof": "right",
    "pid": 1,
    "proxy_version": "1",
}


def frame(**message: Any) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


class Begun:
    """The links that were begun, and whoever waits for one."""

    def __init__(self) -> None:
        self.links: list[tuple[trio.SocketStream, Opened]] = []
        self._more = trio.Event()

    def add(self, stream: trio.SocketStream, opened: Opened) -> None:
        self.links.append((stream, opened))
        self._more.set()
        self._more = trio.Event()

    async def wait(self, number: int) -> None:
        while len(self.links) < number:
            await self._more.wait()


class World:
    def __init__(self, listener: trio.SocketListener, places: Places, begun: Begun) -> None:
        self.address = listener.socket.getsockname()
        self.places = places
        self.begun = begun

    async def connect(self) -> trio.SocketStream:
        """Connect, and read the greeting."""
        stream = await trio.open_tcp_stream(*self.address)
        size = int.from_bytes(await stream.receive_some(4), "big")
        hello = msgspec.msgpack.decode(await stream.receive_some(size))
        assert set(hello) == {"t", "protocol", "nonce"}
        return stream


class Strangers(PeerUsers):
    """Everybody is of another user."""

    def is_own(self, connected: Addressed) -> bool:  # noqa: ARG002  # whoever it is
        return False


@asynccontextmanager
async def open_world(users: PeerUsers | None = None, foreign: int = 256) -> AsyncIterator[World]:
    numbers = itertools.count(1)

    def verify(_nonce: bytes, register: wire.Register) -> Verified | None:
        return Verified("session", None) if register.proof == "right" else None

    settings = LinkSettings(
        daemon_version="1",
        generation=1,
        verify=verify,
        next_connection_id=lambda: ConnectionId(next(numbers)),
    )
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    places, begun, users = Places(ConnectionLimits()), Begun(), users or PeerUsers()
    with Unproven(settings, places, users, Rate(foreign, 200)) as unproven:
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(unproven.run, begun.add)
            nursery.start_soon(unproven.accept, listener)
            yield World(listener, places, begun)
            nursery.cancel_scope.cancel()
            users.close()
    for stream, _ in begun.links:
        await stream.aclose()


@pytest.fixture
def still_clock() -> MockClock:
    """No time passes: whatever a rate or a limit of time holds back never comes."""
    return MockClock()


async def test_a_link_is_begun_by_the_last_byte_of_the_first_frame(still_clock: MockClock) -> None:
    async with open_world() as world:
        streams = [await world.connect()]
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        streams += [await world.connect() for _ in range(20)]
        whole = frame(**REGISTER)
        for byte in whole[:-1]:
            await streams[0].send_all(bytes((byte,)))
        await streams[1].send_all(bytes(5))  # a body of no bytes
        await streams[2].send_all(b"\xff\xff\xff\xff")
        await world.begun.wait(2)
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        await streams[0].send_all(whole[-1:] + b"more")
        await world.begun.wait(3)
        by_bytes = {bytes(opened.take_received()) for _, opened in world.begun.links}
        assert {whole + b"more", whole} & by_bytes
        assert {bytes(5), b"\xff\xff\xff\xff"} < by_bytes
        for stream in streams:
            await stream.aclose()


async def test_who_proves_himself_waits_for_nobody_who_does_not(still_clock: MockClock) -> None:
    async with open_world() as world:
        others = [await world.connect() for _ in range(UNREGISTERED_MAX - 1)]
        for number, stream in enumerate(others):
            wrong: dict[str, Any] = {"t": "ping", "n": 1} if number % 2 else REGISTER
            await stream.send_all(frame(**wrong | {"proof": "wrong"}))
        await world.begun.wait(len(others))
        more = [await world.connect() for _ in range(AT_ONCE - len(others) + 10)]
        for stream in more:
            await stream.send_all(frame(t="ping", n=1))
        await world.begun.wait(AT_ONCE)
        honest = await world.connect()
        await honest.send_all(frame(**REGISTER))
        await world.begun.wait(AT_ONCE + 1)
        await trio.testing.wait_all_tasks_blocked()
        *_, (_, last) = world.begun.links
        register = last.register()
        assert register is not None
        assert (register.proof, len(world.begun.links)) == ("right", AT_ONCE + 1)
        for stream in (*others, *more, honest):
            await stream.aclose()


async def test_what_is_too_large_to_be_looked_at_at_once_waits_its_turn(
    still_clock: MockClock,
) -> None:
    async with open_world() as world:
        stream = await world.connect()
        await stream.send_all(frame(**REGISTER | {"metadata": {"x": "y" * 3 * EARLY_READ_BYTES}}))
        await world.begun.wait(1)
        assert world.begun.links[0][1].register() is None
        await stream.aclose()


async def test_who_is_gone_leaves_nothing(still_clock: MockClock) -> None:
    async with open_world() as world:
        first = [await world.connect() for _ in range(UNREGISTERED_MAX)]
        for stream in first:
            await stream.aclose()
        # No time passes, so these are greeted only because the places are free again.
        second = [await world.connect() for _ in range(UNREGISTERED_MAX)]
        assert not world.begun.links
        for stream in second:
            await stream.aclose()


async def test_whoever_sends_nothing_whole_for_ten_seconds_is_refused(
    still_clock: MockClock,
) -> None:
    async def next_message(stream: trio.SocketStream) -> Any:
        size = int.from_bytes(await stream.receive_some(4), "big")
        return msgspec.msgpack.decode(await stream.receive_some(size))

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    ownership_tx, ownership_rx = trio.open_memory_channel[ownership.OwnershipMessage](10)
    settings = LinkSettings(
        daemon_version="1",
        generation=1,
        verify=lambda *_claim: None,
        next_connection_id=lambda: ConnectionId(1),
    )
    async with listener, ownership_rx, trio.open_nursery() as nursery:
        # A node of a cluster lends its listener to each run of the daemon.
        await nursery.start(links.serve, [Borrowed(listener)], settings, ownership_tx)
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        stream = await trio.open_tcp_stream(*listener.socket.getsockname())
        assert (await next_message(stream))["t"] == "hello"
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        await stream.send_all(frame(**REGISTER)[:-1])
        await trio.testing.wait_all_tasks_blocked()
        still_clock.jump(9.9)
        await trio.testing.wait_all_tasks_blocked()
        still_clock.jump(0.2)
        refused = await next_message(stream)
        assert (refused["t"], refused["code"]) == ("refused", "register_timeout")
        await stream.aclose()
        nursery.cancel_scope.cancel()


async def test_a_proof_is_checked_once_also_where_it_is_wrong() -> None:
    checked: list[wire.Register] = []

    def verify(_nonce: bytes, register: wire.Register) -> None:
        checked.append(register)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    ownership_tx, ownership_rx = trio.open_memory_channel[ownership.OwnershipMessage](10)
    settings = LinkSettings(
        daemon_version="1",
        generation=1,
        verify=verify,
        next_connection_id=lambda: ConnectionId(1),
    )
    async with listener, ownership_rx, trio.open_nursery() as nursery:
        await nursery.start(links.serve, [listener], settings, ownership_tx)
        async with await trio.open_tcp_stream(*listener.socket.getsockname()) as stream:
            await stream.send_all(frame(**REGISTER))
            read = b""
            while chunk := await stream.receive_some(4096):
                read += chunk
        assert b"bad_proof" in read
        assert len(checked) == 1
        nursery.cancel_scope.cancel()


async def test_no_place_is_taken_from_who_has_just_come(still_clock: MockClock) -> None:
    async with open_world() as world:
        came, waits = itertools.count(1), trio.Event()
        wait_free = world.places.wait_free

        async def watched(*, own: bool) -> None:
            if next(came) > UNREGISTERED_MAX:
                waits.set()
            await wait_free(own=own)

        world.places.wait_free = watched  # type: ignore[method-assign]  # to see that it waits
        streams = [await world.connect() for _ in range(UNREGISTERED_MAX)]
        streams.append(await trio.open_tcp_stream(*world.address))
        await waits.wait()
        await trio.testing.wait_all_tasks_blocked()
        await streams[0].send_all(frame(**REGISTER))
        await world.begun.wait(1)
        assert world.begun.links[0][1].register() is not None
        still_clock.jump(WAITS_AT_LEAST_S)
        assert await streams[-1].receive_some(4), "greeted"
        for stream in streams:
            await stream.aclose()


async def test_the_oldest_keeps_its_place_for_a_moment(autojump_clock: MockClock) -> None:
    places = Places(ConnectionLimits())
    dropped: list[int] = []
    began = trio.current_time()
    for number in range(3 * UNREGISTERED_MAX):
        await places.wait_free(own=True)
        places.enter(ConnectionId(number), lambda n=number: dropped.append(n), own=True)  # type: ignore[misc]
    assert dropped == [*range(2 * UNREGISTERED_MAX)]
    assert trio.current_time() - began == pytest.approx(2 * WAITS_AT_LEAST_S)
    await places.wait_free(own=False)
    assert trio.current_time() - began == pytest.approx(2 * WAITS_AT_LEAST_S)


async def test_of_other_users_no_more_are_looked_at_than_a_rate(still_clock: MockClock) -> None:
    async with open_world(Strangers(), foreign=2) as world:
        streams = [await world.connect() for _ in range(2)]
        streams.append(await trio.open_tcp_stream(*world.address))
        assert await streams[-1].receive_some() == b"", "closed without a greeting"
        still_clock.jump(0.01)
        streams.append(await world.connect())
        for stream in streams:
            await stream.aclose()


async def test_a_rate_is_kept_over_any_time(autojump_clock: MockClock) -> None:
    rate = Rate(4, 10.0)
    assert [rate.takes_one_more() for _ in range(6)] == [True] * 4 + [False] * 2
    await trio.sleep(0.25)
    assert [rate.takes_one_more() for _ in range(4)] == [True] * 2 + [False] * 2
    await trio.sleep(100)
    assert [rate.takes_one_more() for _ in range(6)] == [True] * 4 + [False] * 2


def test_who_has_left_is_of_no_user() -> None:
    users = PeerUsers()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
        with ours:
            there = users.is_own(ours)
            theirs.close()
            ours.settimeout(30)
            assert ours.recv(1) == b""
            assert not users.is_own(ours)
            assert there is Path("/proc/self").exists()
    users.close()
