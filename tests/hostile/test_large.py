"""What one session sends that is large holds up nobody else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import trio

from tests.daemon.test_wire import resident_bytes
from tests.kit.daemon import Daemon, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import RawProxy, connect, session

SLOWEST_S = 1.0
"""Of a processor, which a busy machine does not change; each took 2 to 100 s on its own."""
MIB = 1024 * 1024


@asynccontextmanager
async def measured(daemon: Daemon, steady: RawProxy) -> AsyncIterator[list[float]]:
    """Ask the daemon again and again while the block runs.

    How much of a processor it used from each question to its answer is in the list.
    """
    waits: list[float] = []
    pid = daemon.process.pid
    done = trio.Event()

    async def ask() -> None:
        while not done.is_set():
            began_at = used_s(pid)
            await steady.barrier()
            waits.append(used_s(pid) - began_at)
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        yield waits
        done.set()


def used_s(pid: int) -> float:
    """Return how many seconds of a processor a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def body(**message: Any) -> bytes:
    encoded = msgspec.msgpack.encode(message)
    return len(encoded).to_bytes(4, "big") + encoded


async def test_frames_of_millions_of_values_are_refused_before_they_are_decoded(
    state_dir: Path,
) -> None:
    """Eight million empty lists took 16 s of the loop, and 256 KiB of them a stranger's."""
    lists = b"\xdd" + (7_000_000).to_bytes(4, "big") + b"\x90" * 7_000_000
    head = msgspec.msgpack.encode({"t": "tool", "id": 1, "name": "n", "args": {"x": 1}})[:-1]
    large = (len(head) + len(lists)).to_bytes(4, "big") + head + lists
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir) as daemon,
        session(state_dir, "steady") as steady,
        session(state_dir, "hostile") as hostile,
        measured(daemon, steady) as waits,
    ):
        for _ in range(3):
            await hostile.send_bytes(large)
            error = await hostile.until("error")
            assert (error["code"], error["fatal"]) == ("invalid_message", False)
        # A file of the size that a reply may carry is one value.
        await hostile.send(t="tool", id=2, name="n", args={"file": os.urandom(6 * MIB)})
        assert (await hostile.until("tool_result"))["error"] == "Unknown tool: n"
        async with connect(state_dir) as stranger:
            await stranger.expect("hello")
            early: dict[str, Any] = {"x": [[]] * 200_000}
            for _ in range(16):
                await stranger.send(t="tool", id=1, name="n", args=early)
                assert (await stranger.expect("error"))["code"] == "invalid_message"
            await stranger.send(t="tool", id=1, name="n", args=early)
            assert (await stranger.expect("error"))["fatal"]
    assert max(waits) < SLOWEST_S


async def test_a_flood_of_text_holds_up_nobody(state_dir: Path) -> None:
    """Lines cost more than letters: 8 MiB of empty ones took the loop two minutes."""
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir) as daemon,
        session(state_dir, "hostile", "dispatcher") as hostile,
        session(state_dir, "steady") as steady,
    ):
        chat = await platform.chat()
        await platform.send(chat, "go")
        turn_id = (await hostile.until("deliver"))["turn_id"]
        async with measured(daemon, steady) as waits:
            await hostile.send(t="delta", turn_id=turn_id, text="a\n" * 30_000)
            await hostile.send(
                t="tool_event",
                turn_id=turn_id,
                call_id="c" * MIB,
                input={"command": "x" * MIB},
                output="y" * MIB,
            )
            await hostile.send(t="turn_end", turn_id=turn_id, status="complete", text="z " * 50_000)
            with trio.fail_after(60):
                await platform.wait_cards(1, "z z", within_s=60)
        assert max(waits) < SLOWEST_S


async def test_requests_for_permission_of_millions_of_characters_hold_up_nobody(
    state_dir: Path,
) -> None:
    """Each is made readable character by character, which took the loop up to 40 s."""
    options = [{"id": "yes", "label": "Yes", "kind": "allow_once"}]
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir) as daemon,
        session(
            state_dir, "hostile", "dispatcher", capabilities=["turns", "permission"]
        ) as hostile,
        session(state_dir, "steady") as steady,
    ):
        chat = await platform.chat()
        await platform.send(chat, "go")
        turn_id = (await hostile.until("deliver"))["turn_id"]
        idle = resident_bytes(daemon.process.pid)
        async with measured(daemon, steady) as waits:
            for number in range(6):
                await hostile.send(
                    t="permission_request",
                    request_id=f"r{number}",
                    turn_id=turn_id,
                    title="t" * 500,
                    detail="\u202e" * 150_000,
                    options=options,
                )
            await hostile.send(
                t="permission_request",
                request_id="too long",
                turn_id=turn_id,
                title="t",
                detail="x" * 7_000_000,
                options=options,
            )
            verdict = await hostile.until(
                "permission_verdict", lambda one: one["request_id"] == "too long"
            )
            assert verdict["outcome"] == "cancelled"
            await hostile.barrier()
        assert max(waits) < SLOWEST_S
        assert resident_bytes(daemon.process.pid) - idle < 100 * MIB


async def test_an_inbox_of_long_texts_counts_what_it_leaves_out(state_dir: Path) -> None:
    """All of them together fit no frame; asked for, they ended every link."""
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
    ):
        chat = await platform.chat()
        for number in range(20):
            await platform.send(chat, f"{number} " + "界" * 48_000)
            deliver = await boss.until("deliver")
            await boss.send(t="ack", event_id=deliver["event_id"], attempt=deliver["attempt"])
        answer = await boss.tool("inbox", limit=100)
        assert answer["ok"], answer
        result = answer["result"]
        assert len(msgspec.msgpack.encode(result)) < 2.5 * MIB
        assert result["more"] is True
        assert len(result["messages"]) + result["left_out"]["messages_for_size"] == 20
        assert result["left_out"]["messages_for_size"] > 0
        await boss.barrier()


async def test_many_sessions_that_send_half_of_a_large_frame_take_little_memory(
    state_dir: Path,
) -> None:
    half = (8 * MIB).to_bytes(4, "big") + bytes(7 * MIB)
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir) as daemon,
        session(state_dir, "honest") as honest,
        trio.open_nursery() as nursery,
    ):
        before = resident_bytes(daemon.process.pid)

        async def send_half(
            name: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
        ) -> None:
            with suppress(trio.BrokenResourceError):
                async with session(state_dir, name) as proxy:
                    task_status.started()
                    await proxy.send_bytes(half)
                    await trio.sleep_forever()

        for number in range(24):
            await nursery.start(send_half, f"half-{number}")
        most = 0
        for _ in range(300):  # each is a turn of the daemon's loop, in which it reads what it may
            await honest.barrier()
            most = max(most, resident_bytes(daemon.process.pid))
        assert most - before < 80 * MIB, (most - before) // MIB
        nursery.cancel_scope.cancel()
