"""How fast events are taken in: acked with full durability, and on to the proxy."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import trio

from actors.proxies.client import ProxySettings, open_proxy
from bench.loopback import Loopback, open_loopback, percentile, table
from bench.yardsticks import Bare, Commit, bare_loop, one_commit

SINGLE_EVENTS = 200
NOT_VALID = " (not valid: the generator was the limit)"
GENERATOR_SHARE_MAX = 0.85
"""Of what the generator can push: beyond it its own speed is measured."""


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000)
    parser.add_argument("--at-once", type=int, default=8, help="events unacked at a time")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        async with open_loopback(Path(folder), "--no-limits") as loopback:
            rows = await measure(loopback, parsed.events, parsed.at_once)
        bare = await bare_loop(parsed.events, parsed.at_once)
        commit = one_commit(Path(folder))
    ratios = compared(rows, bare, commit)
    if NOT_VALID in ratios[-1][1]:
        rows = [(name, "not valid" if "/s" in name else value) for name, value in rows]
    table([*rows, *ratios])


def compared(rows: list[tuple[str, str]], bare: Bare, commit: Commit) -> list[tuple[str, str]]:
    """Give the figures that mean the same on every machine."""
    figures = dict(rows)
    cpu_ms = float(figures["daemon CPU ms per event"])
    rate = float(figures["events/s acked, durable"].replace(",", ""))
    share = rate / bare.events_per_s
    valid = "" if share < GENERATOR_SHARE_MAX else NOT_VALID
    return [
        (
            "yardstick: one SQLite commit of its row",
            f"{commit.cpu_ms:.2f} ms CPU, {commit.wall_ms:.2f} ms",
        ),
        (
            "yardstick: a bare Trio loop, per event",
            f"{bare.cpu_ms:.2f} ms CPU, {bare.events_per_s:,.0f}/s",
        ),
        ("daemon CPU per event / commit", f"{cpu_ms / commit.cpu_ms:.1f}"),
        ("daemon CPU per event / bare loop", f"{cpu_ms / bare.cpu_ms:.1f}"),
        ("rate of the generator that was used", f"{share:.0%}{valid}"),
    ]


async def measure(loopback: Loopback, events: int, at_once: int) -> list[tuple[str, str]]:
    chats = await loopback.chats(20)
    received_ms: dict[str, float] = {}
    # A channel session: it is given messages as they come.
    settings = ProxySettings(
        session_id="listener",
        state_dir=loopback.state_dir,
        role="dispatcher",
        capabilities=(),
    )

    async with open_proxy(settings) as proxy, trio.open_nursery() as nursery:

        async def listen() -> None:
            async for turn in proxy.turns():
                received_ms[turn.deliver.event_id] = time.time() * 1000
                await turn.ack()

        nursery.start_soon(listen)
        started, cpu = trio.current_time(), loopback.daemon.cpu_s()
        await loopback.post("flood", chat_ids=chats, count=events, at_once=at_once)
        with trio.fail_after(60):
            while len(received_ms) < events:
                await trio.sleep(0.02)
        all_received_s = trio.current_time() - started
        cpu_s = loopback.daemon.cpu_s() - cpu
        loaded = await loopback.get("events")
        # One at a time: what a single message waits for.
        await loopback.post("flood", chat_ids=chats, count=SINGLE_EVENTS, at_once=1)
        with trio.fail_after(60):
            while len(received_ms) < events + SINGLE_EVENTS:
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    pushed = loaded
    single = (await loopback.get("events"))[events:]
    pushes = [push for event in pushed for push in event["pushes"] if push["ack"] == 200]
    acks = [push["ack_ms"] for push in pushes]
    span_s = (max(p["at_ms"] for p in pushes) - min(p["at_ms"] for p in pushes)) / 1000
    to_proxy = [received_ms[one["event_id"]] - one["pushes"][0]["at_ms"] for one in single]
    return [
        ("events, unacked at once", f"{events:,}, {at_once}"),
        ("events/s acked, durable", f"{len(pushes) / span_s:,.0f}"),
        ("ack p50 / p99", f"{percentile(acks, 0.5):.1f} / {percentile(acks, 0.99):.1f} ms"),
        ("events/s to the proxy", f"{events / all_received_s:,.0f}"),
        (
            "one event to the proxy p50 / p99",
            f"{percentile(to_proxy, 0.5):.0f} / {percentile(to_proxy, 0.99):.0f} ms",
        ),
        ("daemon CPU ms per event", f"{cpu_s / events * 1000:.2f}"),
        ("pushes not acked at once", str(sum(len(event["pushes"]) - 1 for event in pushed))),
        ("RSS peak", f"{loopback.daemon.peak_rss_mb():.0f} MB"),
    ]


if __name__ == "__main__":
    trio.run(main)
