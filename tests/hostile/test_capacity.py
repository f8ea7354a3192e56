"""A daemon that may have few descriptors, and those who want them all."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from actors.kit.descriptors import raise_limit
from actors.kit.mailbox import Answer, Reply
from actors.links.capacity import UNREGISTERED_MAX, ConnectionLimits, Places
from actors.messages import link, ownership
from actors.ownership import admission
from protocol.ids import ConnectionId, SessionId
from protocol.routing import lease
from protocol.wire.vocabulary import Role
from tests.kit import preloaded
from tests.kit.daemon import environment, open_daemon, open_platform
from tests.kit.raw_proxy import Closed, Map, connect, session
from tests.kit.sizes import NIGHTLY

DESCRIPTORS = 528
"""What leaves capacity for 16 sessions beside all that is reserved."""
SESSIONS = 16
OBSERVERS = 64


async def larkd(state_dir: Path, *arguments: str) -> bytes:
    command = [*arguments, "--state-dir", str(state_dir)]
    done = await preloaded.run("actors.cli", command, environment())
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors with /proc")
async def test_each_kind_of_connection_has_places_that_no_other_takes(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir, descriptors=DESCRIPTORS) as daemon,
        AsyncExitStack() as stack,
    ):
        raise_limit()
        strangers = [await stack.enter_async_context(connect(state_dir)) for _ in range(300)]
        sessions = [
            await stack.enter_async_context(session(state_dir, f"s{number}"))
            for number in range(SESSIONS)
        ]
        async with connect(state_dir) as one_more:
            refused = await one_more.register(state_dir, "one-more")
            assert (refused["t"], refused["code"]) == ("refused", "too_many_sessions")
            assert "ulimit -n" in refused["message"]
        # Who may only look takes nobody's place, and leaves operators theirs.
        observers = [
            await stack.enter_async_context(session(state_dir, f"o{number}", "observer"))
            for number in range(OBSERVERS)
        ]
        async with connect(state_dir) as one_more:
            refused = await one_more.register(state_dir, "one-more", "observer")
            assert (refused["t"], refused["code"]) == ("refused", "too_many_sessions")
        for observer in observers:
            await observer.barrier()
        assert (await observers[0].tool("feishu_channel_status"))["ok"]
        assert b'"s15"' in await larkd(state_dir, "status", "--json")
        # The tools inside an agent speak for its session, and are no observers that look.
        inside: Map = {"token_role": "session", "capabilities": ["inside"]}
        async with connect(state_dir) as tools:
            answer = await tools.register(state_dir, "s1", "observer", **inside)
            assert answer["code"] == "too_many_sessions"
        await sessions[0].aclose()
        with trio.fail_after(60):
            while True:
                async with connect(state_dir) as tools:
                    answer = await tools.register(state_dir, "s1", "observer", **inside)
                    if answer["t"] == "registered":
                        break
        for stranger in strangers:
            with suppress(Closed, trio.BrokenResourceError):
                await stranger.send_bytes(b"\0\0\0\1\xc0")
        await sessions[1].barrier()
        opened = list(Path(f"/proc/{daemon.process.pid}/fd").iterdir())
        assert len(opened) < DESCRIPTORS - 100


def test_as_many_sessions_as_there_may_be_keep_no_observer_out() -> None:
    live = {
        SessionId(f"s{number}"): lease.Session(
            session_id=SessionId(f"s{number}"),
            connection_id=ConnectionId(number),
            role="session",
            alias=f"s{number}",
            pid=1,
            proxy_version="1",
            metadata={},
            capabilities=(),
            connected_at_ms=0,
        )
        for number in range(lease.SESSIONS_MAX)
    }
    mailbox, _ = trio.open_memory_channel[link.LinkMessage](1)
    cases: tuple[tuple[Role, bool], ...] = (("session", False), ("observer", True))
    for role, admitted in cases:
        register = ownership.RegisterSession(
            connection_id=ConnectionId(9_999),
            session_id=SessionId("one-more"),
            role=role,
            proven_by=role,
            pid=1,
            proxy_version="1",
            metadata={},
            capabilities=frozenset(),
            link=mailbox,
            reply=Reply(Answer()),
        )
        refused = admission.refusal(
            register, lease.OwnershipState(sessions=live), None, leaving=False
        )
        assert (refused is None) is admitted, refused


async def test_whoever_connects_of_other_users_takes_no_place_of_the_daemons_own() -> None:
    places = Places(ConnectionLimits())
    dropped: list[int] = []
    for number in range(UNREGISTERED_MAX):
        places.enter(ConnectionId(number), partial(dropped.append, number), own=True)
    for number in range(1_000, 2_000):
        places.enter(ConnectionId(number), partial(dropped.append, number), own=False)
    assert dropped == [*range(1_000, 2_000 - UNREGISTERED_MAX)]
    places.registers(ConnectionId(0))
    places.enter(ConnectionId(5_000), partial(dropped.append, 5_000), own=True)
    assert dropped[-1] != 1, "who has registered waits no more"


def connect_without_end(port: int) -> None:
    """Be another user, and connect as fast as it goes."""
    os.setuid(65_534)
    held: list[socket.socket] = []
    while True:
        try:
            one = socket.socket()
            one.setblocking(False)
            held.append(one)
            one.connect(("127.0.0.1", port))
        except OSError:
            if len(held) > 400:
                held.pop(0).close()


@pytest.mark.skipif(
    os.geteuid() != 0 or not sys.platform.startswith("linux"),
    reason="becomes another user of a Linux machine: run as root",
)
async def test_another_user_who_connects_without_end_keeps_nobody_out(state_dir: Path) -> None:
    async with open_platform() as platform, open_daemon(platform, state_dir) as daemon:
        port = int(daemon.address.rpartition(":")[2])
        flood = multiprocessing.get_context("fork").Process(
            target=connect_without_end, args=(port,)
        )
        flood.start()
        try:
            await trio.sleep(0.3)
            for number in range(5 if NIGHTLY else 1):
                with trio.fail_after(60):
                    async with session(state_dir, f"s{number}") as one:
                        await one.barrier()
        finally:
            flood.kill()
            flood.join()
