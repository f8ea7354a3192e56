"""A thousand sessions that come back at once, and a start with a hundred thousand unread rows.

Over real sockets and a real journal. First: every session is connected, half of them hold
a row that they never acked and that came from a chat bound to them; all are cut at once and
come back at once. Nobody may stay listed who is gone, ``feishu_channel_status`` is answered
all the while, and the memory is as before. Second: the journal holds rows that no intake has
read; the daemon listens, sessions register and what people write now is acked, as if there
were none, while they are worked off in order.
"""

from __future__ import annotations

import argparse
import itertools
import json
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import trio
import trio.lowlevel

from actors.host import state_dir as host_state
from actors.host.tokens import open_tokens
from actors.journal import SqliteStore
from bench.loopback import Loopback, open_loopback, percentile, table
from protocol.config.places import StateDir
from tests.kit.raw_proxy import Closed, RawProxy, connect

STATUS_MS_MAX = 200.0
LAG_MS_MAX = 20.0
"""How late, at p95, who asks for status may be awake: beyond it the times are its own."""
STATUS_EVERY_S = 0.05
STATUS_FIRST = 20
"""Before all are cut."""
MEMORY_TIMES_MAX = 1.1
LISTENING_S_MAX = 1.0
REGISTERED_S_MAX = 1.0
ACKED_MS_MAX = 1_000.0
BACK_WITHIN_S = 120.0
GONE_WITHIN_S = 30.0
WORKED_OFF_WITHIN_S = 600.0
MESSAGES = 40
GONE = (Closed, OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)

Map = dict[str, Any]


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=100_000, help="unread at the start")
    parser.add_argument("--ask", type=Path, metavar="STATE_DIR", help="only time the status")
    parsed = parser.parse_args()
    if parsed.ask is not None:
        await ask_status(parsed.ask)
    good = await all_back_at_once(parsed.sessions)
    return 0 if await start_with_backlog(parsed.rows) and good else 1


# ── all back at once ────────────────────────────────────────────────────────


class Crowd:
    """The sessions, and what they were given."""

    def __init__(self, loopback: Loopback, count: int) -> None:
        self.loopback = loopback
        self.names = [f"s{number}" for number in range(count)]
        self.here: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.cut = trio.Event()

    async def attach(self, name: str) -> None:
        """Register, and take what comes without acking it, until all are cut."""
        cut = self.cut
        while not cut.is_set():
            try:
                await self._serve(name, cut)
            except* GONE:
                self.here.discard(name)

    async def _serve(self, name: str, cut: trio.Event) -> None:
        async with connect(self.loopback.state_dir) as proxy:
            answer = await proxy.register(self.loopback.state_dir, name, capabilities=[])
            if answer["t"] != "registered":
                return
            self.here.add(name)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take, name, proxy)
                await cut.wait()
                nursery.cancel_scope.cancel()
        self.here.discard(name)

    async def _take(self, name: str, proxy: RawProxy) -> None:
        while True:
            message = await proxy.receive()
            if message["t"] == "deliver":
                self.attempts[name] = message["attempt"]


async def all_back_at_once(sessions: int) -> bool:
    def prepare(state_dir: Path, users: list[str]) -> None:
        bound = [(f"oc_{number}", f"s{number}") for number in range(sessions // 2)]
        with unread(state_dir) as db:
            db.executemany("INSERT INTO binding VALUES (?, ?)", bound)
            for number, (chat, _) in enumerate(bound):
                add_message(db, number, chat, users[0])

    with tempfile.TemporaryDirectory() as folder:
        async with open_loopback(Path(folder), prepare=prepare) as loopback:
            crowd, times, lags = Crowd(loopback, sessions), list[float](), list[float]()
            async with trio.open_nursery() as nursery:
                first_s = await come(crowd, nursery, attempt=1)
                await trio.sleep(2)
                before_mb = loopback.daemon.rss_mb()
                nursery.start_soon(read_times, loopback, times, lags)
                while len(times) < STATUS_FIRST:
                    await trio.sleep(0.05)
                crowd.cut.set()
                await trio.lowlevel.checkpoint()
                cpu_s = loopback.daemon.cpu_s()
                crowd.cut = trio.Event()
                back_s = await come(crowd, nursery, attempt=2)
                cpu_s = loopback.daemon.cpu_s() - cpu_s
                await trio.sleep(2)
                during = list(times)
                after_mb = loopback.daemon.rss_mb()
                crowd.cut.set()
                left, gone_s = await wait_gone(loopback)
                nursery.cancel_scope.cancel()
    p95 = percentile(during, 0.95)
    lag = percentile(lags, 0.95)
    good = p95 <= STATUS_MS_MAX and not left and after_mb <= before_mb * MEMORY_TIMES_MAX
    verdict = "as promised" if good else "BROKEN"
    if lag > LAG_MS_MAX:
        verdict = "NOT VALID: who asks for status lagged"
    table(
        [
            (f"{sessions} sessions connected, {sessions // 2} rows given, in", f"{first_s:.1f} s"),
            ("all cut at once, all back and given their rows again, in", f"{back_s:.1f} s"),
            (
                "status meanwhile",
                f"p50 {percentile(during, 0.5):.0f} ms, p95 {p95:.0f} ms, max {max(during):.0f} ms",
            ),
            ("answers to it; how late who asks was awake, p95", f"{len(during)}; {lag:.0f} ms"),
            ("CPU of the daemon for it", f"{cpu_s:.1f} s"),
            ("memory before, after", f"{before_mb:.1f} MB, {after_mb:.1f} MB"),
            ("listed after all were cut for good", f"{left}, after {gone_s:.1f} s"),
            ("verdict", verdict),
        ]
    )
    return good


async def come(crowd: Crowd, nursery: trio.Nursery, *, attempt: int) -> float:
    """Attach all at once; return how long it took until each had its row."""
    began = time.perf_counter()
    for name in crowd.names:
        nursery.start_soon(crowd.attach, name)
    bound = crowd.names[: len(crowd.names) // 2]
    with trio.fail_after(BACK_WITHIN_S):
        while len(crowd.here) < len(crowd.names) or any(
            crowd.attempts.get(name, 0) < attempt for name in bound
        ):
            await trio.sleep(0.05)
    return time.perf_counter() - began


async def read_times(loopback: Loopback, times: list[float], lags: list[float]) -> None:
    """Collect what a process of its own measures: this one is busy with the sessions.

    Of each answer how long it took, and how late its question was, in milliseconds.
    """
    command = [sys.executable, "-m", "bench.sessions", "--ask", str(loopback.state_dir)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        pending = b""
        async for chunk in process.stdout:
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                took, lag = map(float, line.split())
                times.append(took)
                lags.append(lag)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def ask_status(state_dir: Path) -> None:
    """Ask until killed; print how long each answer took, and how late it was asked for.

    Both are milliseconds.
    """
    async with connect(state_dir) as proxy:
        await proxy.register(state_dir, "watch", "observer")
        due = time.perf_counter()
        for number in itertools.count(1):
            began = time.perf_counter()
            lag_ms = (began - due) * 1000
            await proxy.send(t="tool", id=number, name="feishu_channel_status", args={})
            await proxy.until("tool_result", within_s=60)
            proxy.seen.clear()
            print((time.perf_counter() - began) * 1000, lag_ms, flush=True)
            due = time.perf_counter() + STATUS_EVERY_S
            await trio.sleep(STATUS_EVERY_S)


async def wait_gone(loopback: Loopback) -> tuple[int, float]:
    """Wait until nobody is listed; return how many are, and how long it took."""
    began, left = time.perf_counter(), 0
    async with connect(loopback.state_dir) as proxy:
        await proxy.register(loopback.state_dir, "last", "observer")
        for number in range(1, 1_000):
            answer = await proxy.tool("feishu_channel_status", number)
            left = len(answer["result"]["sessions"])
            took_s = time.perf_counter() - began
            if not left or took_s > GONE_WITHIN_S:
                return left, took_s
            await trio.sleep(0.1)
    return left, GONE_WITHIN_S


# ── a start with a backlog ──────────────────────────────────────────────────


async def start_with_backlog(rows: int) -> bool:
    def prepare(state_dir: Path, users: list[str]) -> None:
        with unread(state_dir) as db:
            for number in range(rows):
                add_message(db, number, "oc_long_ago", users[0])

    with tempfile.TemporaryDirectory() as folder:
        async with open_loopback(Path(folder), prepare=prepare) as loopback:
            began = time.perf_counter()
            (chat,) = await loopback.chats(1)
            got: list[str] = []
            acks: list[float] = []
            async with connect(loopback.state_dir) as proxy, trio.open_nursery() as nursery:
                register_began = time.perf_counter()
                await proxy.register(loopback.state_dir, "boss", "dispatcher", capabilities=[])
                registered_s = time.perf_counter() - register_began
                nursery.start_soon(ack_all, proxy, got)
                for number in range(MESSAGES):
                    sent_at = time.perf_counter()
                    await loopback.post("send", chat_id=chat, text=f"now {number}", wait_ack=True)
                    acks.append((time.perf_counter() - sent_at) * 1000)
                with trio.fail_after(WORKED_OFF_WITHIN_S):
                    while len(got) < rows + MESSAGES:
                        await trio.sleep(0.1)
                took_s = time.perf_counter() - began
                nursery.cancel_scope.cancel()
            listening_s = loopback.daemon.started_s
    wanted = [f"message {number}" for number in range(rows)]
    in_order = [text for text in got if text.startswith("message")] == wanted
    good = (
        in_order
        and listening_s <= LISTENING_S_MAX
        and registered_s <= REGISTERED_S_MAX
        and percentile(acks, 0.99) <= ACKED_MS_MAX
    )
    table(
        [
            (f"listening, with {rows} unread rows", f"{listening_s:.2f} s"),
            ("a session registered in", f"{registered_s * 1000:.0f} ms"),
            (
                "a message acked in",
                f"p50 {percentile(acks, 0.5):.0f} ms, p99 {percentile(acks, 0.99):.0f} ms",
            ),
            ("all given and acked in", f"{took_s:.1f} s, {'in' if in_order else 'OUT OF'} order"),
            ("verdict", "as promised" if good else "TOO SLOW"),
        ]
    )
    return good


async def ack_all(proxy: RawProxy, got: list[str]) -> None:
    while True:
        message = await proxy.receive()
        if message["t"] == "deliver":
            got.append(message["content"])
            await proxy.send(t="ack", event_id=message["event_id"], attempt=message["attempt"])
        proxy.seen.clear()


# ── rows that no intake has read ────────────────────────────────────────────


@contextmanager
def unread(state_dir: Path) -> Iterator[sqlite3.Connection]:
    """Make a journal to be filled before its daemon starts."""
    state = StateDir(state_dir)
    host_state.create(state)
    open_tokens(state, secrets.token_urlsafe)
    SqliteStore.open(state.database).close()
    with closing(sqlite3.connect(state.database)) as db, db:
        yield db


def add_message(db: sqlite3.Connection, number: int, chat: str, user: str) -> None:
    """Add a row as it is between the commit of an event and its reading."""
    now_ms = time.time_ns() // 1_000_000
    message_id, event_id = f"om_bench_{number}", f"ev_bench_{number}"
    made = db.execute(
        "INSERT INTO inbound (account, event_id, message_key, kind, state, received_at,"
        " changed_at) VALUES ('default', ?1, ?2, 'message', 'received', ?3, ?3)",
        (event_id, message_id, now_ms),
    )
    event = {
        "schema": "2.0",
        "header": {"event_id": event_id, "event_type": "im.message.receive_v1"},
        "event": {
            "sender": {"sender_id": {"open_id": user}, "sender_type": "user"},
            "message": {
                "message_id": message_id,
                "create_time": str(now_ms),
                "chat_id": chat,
                "chat_type": "p2p",
                "message_type": "text",
                "content": json.dumps({"text": f"message {number}"}),
            },
        },
    }
    db.execute(
        "INSERT INTO content (row_id, payload) VALUES (?, ?)",
        (made.lastrowid, json.dumps(event).encode()),
    )


if __name__ == "__main__":
    raise SystemExit(trio.run(main))
