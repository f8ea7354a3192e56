"""What honest sessions notice of hostile ones: delivery and streaming, quiet and beside them.

The platform, the daemon and the hostile peers (``tests.hostile``: proxies with a session's
token, and a program without one) are processes of their own; this one is the honest people
and their agent. A run in which this one falls behind does not count.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from bench.loopback import Loopback, open_loopback, percentile, table
from tests.kit.raw_proxy import RawProxy, session

LAG_S_MAX = 0.02
"""What is measured is of this order: on a machine with other work the run does not count."""
TIMES_MAX = 2.0
FLOOR_S = 0.05
"""Below this nobody notices: an event has 100 ms to its proxy."""
EVERY_S = 0.05
SEED = 1
NICE = 10


class Honest:
    """One session, who writes to it, and how long everything took."""

    def __init__(self, proxy: RawProxy, loopback: Loopback, chat_id: str) -> None:
        self._proxy = proxy
        self._loopback = loopback
        self._chat_id = chat_id
        self.delivered_s: list[float] = []
        self.streamed_s: list[float] = []
        self.lags_s: list[float] = []
        self._number = 0

    async def work(self, seconds: float) -> None:
        """Write, be given it, stream an answer; each delta is followed by a ping."""
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            self._number += 1
            text = f"message {self._number}"
            began = time.perf_counter()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, text)
                deliver = await self._proxy.until("deliver", within_s=30)
            self.delivered_s.append(time.perf_counter() - began)
            turn_id = deliver["turn_id"]
            await self._proxy.send(
                t="ack", event_id=deliver["event_id"], attempt=deliver["attempt"]
            )
            for _ in range(10):
                due = trio.current_time() + EVERY_S
                await trio.sleep(EVERY_S)
                self.lags_s.append(trio.current_time() - due)
                began = time.perf_counter()
                await self._proxy.send(t="delta", turn_id=turn_id, text="word ")
                await self._proxy.barrier()
                self.streamed_s.append(time.perf_counter() - began)
            await self._proxy.send(t="turn_end", turn_id=turn_id, status="complete")

    async def _write(self, text: str) -> None:
        await self._loopback.post("send", chat_id=self._chat_id, text=text)


async def measure(seconds: float) -> bool:
    rows: list[tuple[str, str]] = []
    fine = True
    with tempfile.TemporaryDirectory() as folder:
        async with (
            open_loopback(Path(folder)) as loopback,
            session(loopback.state_dir, "boss", "dispatcher") as proxy,
        ):
            (chat_id,) = await loopback.chats(1)
            idle_mb = loopback.daemon.rss_mb()
            quiet, beside = (Honest(proxy, loopback, chat_id) for _ in range(2))
            await quiet.work(seconds)
            async with hostile_peers(loopback.state_dir, Path(folder)):
                await beside.work(seconds)
            grown_mb = loopback.daemon.peak_rss_mb() - idle_mb
    for name, before, after in (
        ("delivery", quiet.delivered_s, beside.delivered_s),
        ("streaming", quiet.streamed_s, beside.streamed_s),
    ):
        was, now = percentile(before, 0.99), percentile(after, 0.99)
        fine = fine and now <= max(was * TIMES_MAX, FLOOR_S)
        for when, values in (("quiet", before), ("beside hostile peers", after)):
            p50, p99 = (percentile(values, share) * 1000 for share in (0.5, 0.99))
            rows.append((f"{name}, {when}: p50, p99", f"{p50:.1f} ms, {p99:.1f} ms"))
    rows.append(("memory above idle, at most", f"{grown_mb:.0f} MB"))
    lag_s = percentile(beside.lags_s, 0.99)
    valid = lag_s <= LAG_S_MAX
    rows.append(("generator's lag p99", f"{lag_s * 1000:.0f} ms"))
    rows.append(("run", "valid" if valid else "NOT VALID: the generator fell behind"))
    rows.append((f"p99 within {TIMES_MAX:g} times, or {FLOOR_S * 1000:g} ms", str(fine)))
    table(rows)
    return fine or not valid


@asynccontextmanager
async def hostile_peers(state_dir: Path, folder: Path) -> AsyncIterator[None]:
    turns = folder / "turns"
    turns.touch()
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.hostile", str(SEED), str(state_dir), str(turns)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    # Any program can use up the processor, whatever a daemon does: this one leaves it to the
    # others, so that what they notice is what the daemon gave it.
    os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield
        await process.stdin.aclose()
        made = b"".join([chunk async for chunk in process.stdout])
        print(f"attacks: {made.decode().strip()}")
    finally:
        process.kill()
        with trio.move_on_after(5, shield=True):
            await process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parsed = parser.parse_args()
    return 0 if trio.run(measure, parsed.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
