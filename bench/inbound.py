"""How fast events are taken in: acked with full durability, and on to the proxy; and at what cost.

In rounds, each with its yardsticks, so that all of them meet the same moods of the machine.
The first events are not counted: the first 64 that a session has not answered carry a Typing
mark, which is a call to the platform.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio

from actors.proxies.client import ProxySettings, open_proxy
from bench.loopback import Loopback, open_loopback, percentile, table
from bench.yardsticks import Bare, Commit, CommitYardstick, open_bare_loop

SINGLE_EVENTS = 200
WARM_UP_EVENTS = 100
NOT_VALID = " (not valid: the generator was the limit)"
GENERATOR_SHARE_MAX = 0.85
"""Of what the generator can push: beyond it its own speed is measured."""


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=500, help="of each round")
    parser.add_argument("--at-once", type=int, default=8, help="events unacked at a time")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commits = CommitYardstick(Path(folder) / "yardstick.db")
        async with (
            open_loopback(Path(folder), "--no-limits") as loopback,
            open_bare_loop() as bare,
            open_bare_loop(Path(folder) / "least.db") as least,
            open_listener(loopback) as listener,
        ):
            chats = await loopback.chats(20)
            await listener.flood(chats, WARM_UP_EVENTS, parsed.at_once)
            rounds: list[Round] = []
            for _ in range(parsed.rounds):
                flood = await listener.flood(chats, parsed.events, parsed.at_once)
                commit = commits.measure()
                alone = await bare.measure(parsed.events, parsed.at_once)
                stored = await least.measure(parsed.events, parsed.at_once)
                rounds.append(Round(flood=flood, commit=commit, bare=alone, least=stored))
            acks, pushes = await listener.acks(WARM_UP_EVENTS)
            single = await listener.one_by_one(chats, SINGLE_EVENTS)
            peak_mb = loopback.daemon.peak_rss_mb()
        commits.close()
    valid = all(one.valid for one in rounds)
    rows = [
        ("rounds, events, unacked at once", f"{parsed.rounds}, {parsed.events}, {parsed.at_once}"),
        ("events/s acked, durable", _shown([one.flood.acked_per_s for one in rounds], 0)),
        ("ack p50 / p99", f"{percentile(acks, 0.5):.1f} / {percentile(acks, 0.99):.1f} ms"),
        ("events/s to the proxy", _shown([one.flood.to_proxy_per_s for one in rounds], 0)),
        (
            "one event to the proxy p50 / p99",
            f"{percentile(single, 0.5):.0f} / {percentile(single, 0.99):.0f} ms",
        ),
        ("pushes not acked at once", str(pushes)),
        ("RSS peak", f"{peak_mb:.0f} MB"),
    ]
    if not valid:
        rows = [(name, "not valid" if "/s" in name else value) for name, value in rows]
    table([*rows, *compared(rounds)])


class Flood(msgspec.Struct, frozen=True, kw_only=True):
    cpu_ms: float
    """Of the daemon, for one event."""
    acked_per_s: float
    to_proxy_per_s: float


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One flood of the daemon, and the yardsticks right after it."""

    flood: Flood
    commit: Commit
    bare: Bare
    least: Bare
    """The bare loop that decodes and commits each event, too."""

    @property
    def share(self) -> float:
        """The daemon's rate, of what the generator can push."""
        return self.flood.acked_per_s / self.bare.events_per_s

    @property
    def valid(self) -> bool:
        return self.share < GENERATOR_SHARE_MAX


def compared(rounds: list[Round]) -> list[tuple[str, str]]:
    """Give the figures that mean the same on every machine: median, and from best to worst."""
    commits = [one.commit.cpu_ms for one in rounds]
    waits = [one.commit.wall_ms for one in rounds]
    bare = [one.bare.cpu_ms for one in rounds]
    least = [one.least.cpu_ms for one in rounds]
    cpu = [one.flood.cpu_ms for one in rounds]
    valid = "" if all(one.valid for one in rounds) else NOT_VALID
    return [
        ("daemon CPU ms per event", _shown(cpu, 2)),
        ("yardstick: CPU ms of one SQLite commit of its row", _shown(commits, 3)),
        ("yardstick: ms that such a commit takes", _shown(waits, 2)),
        ("yardstick: CPU ms of a bare Trio loop, per event", _shown(bare, 2)),
        ("yardstick: the same, decoding and committing each", _shown(least, 2)),
        ("daemon CPU per event / commit", _ratios(cpu, commits)),
        ("that yardstick / commit: the least there is", _ratios(least, commits)),
        ("daemon CPU per event / bare loop", _ratios(cpu, bare)),
        ("daemon CPU per event / bare loop that commits", _ratios(cpu, least)),
        (
            "rate of the generator that was used",
            f"{statistics.median(one.share for one in rounds):.0%}{valid}",
        ),
    ]


def _ratios(figures: list[float], yardsticks: list[float]) -> str:
    return _shown([each / one for each, one in zip(figures, yardsticks, strict=True)], 1)


def _shown(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


class Listener:
    """A channel session, which is given messages as they come and acks each."""

    def __init__(self, loopback: Loopback, received_ms: dict[str, float]) -> None:
        self._loopback = loopback
        self._received_ms = received_ms

    async def flood(self, chats: list[str], events: int, at_once: int) -> Flood:
        """Let the platform push so many; return once the session has all of them."""
        had, before = len(self._received_ms), len(await self._loopback.get("events"))
        started, cpu = trio.current_time(), self._loopback.daemon.cpu_s()
        await self._loopback.post("flood", chat_ids=chats, count=events, at_once=at_once)
        with trio.fail_after(60):
            while len(self._received_ms) < had + events:
                await trio.sleep(0.02)
        took_s = trio.current_time() - started
        cpu_s = self._loopback.daemon.cpu_s() - cpu
        at_ms = [event["pushes"][0]["at_ms"] for event in await self._pushed(before)]
        return Flood(
            cpu_ms=cpu_s / events * 1000,
            acked_per_s=events / (max(at_ms) - min(at_ms)) * 1000,
            to_proxy_per_s=events / took_s,
        )

    async def acks(self, after: int) -> tuple[list[float], int]:
        """Return how long each ack took, and how many pushes were sent again."""
        pushed = await self._pushed(after)
        pushes = [push for event in pushed for push in event["pushes"] if push["ack"] == 200]
        again = sum(len(event["pushes"]) - 1 for event in pushed)
        return [push["ack_ms"] for push in pushes], again

    async def one_by_one(self, chats: list[str], events: int) -> list[float]:
        """Push one at a time; return what each waited until the session had it."""
        before = len(await self._loopback.get("events"))
        await self.flood(chats, events, 1)
        return [
            self._received_ms[one["event_id"]] - one["pushes"][0]["at_ms"]
            for one in await self._pushed(before)
        ]

    async def _pushed(self, after: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._loopback.get("events"))[after:]
        return found


@asynccontextmanager
async def open_listener(loopback: Loopback) -> AsyncIterator[Listener]:
    received_ms: dict[str, float] = {}
    settings = ProxySettings(
        session_id="listener", state_dir=loopback.state_dir, role="dispatcher", capabilities=()
    )
    async with open_proxy(settings) as proxy, trio.open_nursery() as nursery:

        async def listen() -> None:
            async for turn in proxy.turns():
                received_ms[turn.deliver.event_id] = time.time() * 1000
                await turn.ack()

        nursery.start_soon(listen)
        yield Listener(loopback, received_ms)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
