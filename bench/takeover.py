"""How long does nobody serve when the holder of a cluster is gone?

Two nodes as real processes, PostgreSQL, the sandbox platform, and six proxies over TLS, all
on this machine. The holder is killed (SIGKILL) or stopped (SIGSTOP); then it is measured
until the other node has claimed, printed its ready line, acked its first event, and until
every proxy is registered with it.

The generator's own lag is printed: a run in which it was late says nothing.

Ends with status 1 when the p99 of the whole is over 5 s.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from tests.cluster.nodes import Certificates, Fleet, Node, echoing
from tests.kit import postgres
from tests.kit.daemon import Platform, open_platform

WHOLE_WITHIN_S = 5.0
LAG_MAX_S = 0.25
PROXIES = ["boss", *(f"mate{number}" for number in range(5))]
PHASES = ("claimed", "ready", "first ack", "registered", "whole")


async def watch_lag(lags: list[float]) -> None:
    while True:
        due = trio.current_time() + 0.02
        await trio.sleep_until(due)
        lags.append(trio.current_time() - due)


async def first_ack(platform: Platform, after_events: set[str]) -> None:
    """Send until one of what was sent since is acked."""
    chat = await platform.chat()
    number = 0
    while True:
        await platform.send(chat, f"served? {number}")
        number += 1
        for event in await platform.get("events"):
            if event["event_id"] not in after_events and any(
                push["ack"] == 200 for push in event["pushes"]
            ):
                return
        await trio.sleep(0.1)


async def one_fault(
    server: postgres.Server, tls: Certificates, root: Path, cluster: str, fault: signal.Signals
) -> tuple[dict[str, float], float]:
    """Return seconds by phase, from the fault on, and the generator's longest lag."""
    found: dict[str, float] = {}
    lags: list[float] = [0.0]
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(open_platform())
        fleet = Fleet(platform, root, server.url(), cluster, tls)
        a: Node = await stack.enter_async_context(fleet.node("a"))
        await a.wait_ready()
        b: Node = await stack.enter_async_context(fleet.node("b"))
        await b.wait_standing_by()
        proxies = await stack.enter_async_context(echoing([a, b], PROXIES, tls))
        for proxy in proxies:
            await proxy.wait_registered("a")
        await platform.wait_connected()
        await trio.sleep(2)
        before = {event["event_id"] for event in await platform.get("events")}
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(watch_lag, lags)
        a.signal(fault)
        began = trio.current_time()

        async def acked() -> None:
            await first_ack(platform, before)
            found["first ack"] = trio.current_time() - began

        async def registered() -> None:
            at = [await proxy.wait_registered("b") for proxy in proxies]
            found["registered"] = max(at) - began

        async with trio.open_nursery() as measured:
            measured.start_soon(acked)
            measured.start_soon(registered)
            await b.wait_event("cluster.claimed")
            found["claimed"] = trio.current_time() - began
            found["ready"] = await b.wait_ready() - began
        found["whole"] = max(found["first ack"], found["registered"])
        nursery.cancel_scope.cancel()
    return found, max(lags)


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="of each fault (5)")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {len(PROXIES)} proxies, seconds from the fault")
    over = False
    with postgres.running() as server, tempfile.TemporaryDirectory() as directory:
        tls = Certificates.made(Path(directory))
        for fault in (signal.SIGKILL, signal.SIGSTOP):
            runs: list[dict[str, float]] = []
            worst = 0.0
            for number in range(options.times):
                root = Path(directory) / f"{fault.name}{number}"
                root.mkdir()
                cluster = f"{fault.name.lower()}_{number}"
                found, lag = trio.run(one_fault, server, tls, root, cluster, fault)
                worst = max(worst, lag)
                runs.append(found)
            for phase in PHASES:
                values = [run[phase] for run in runs]
                print(
                    f"{fault.name:<8} {phase:<11} p50 {statistics.median(values):5.2f}"
                    f"   p99 {percentile(values, 0.99):5.2f}"
                )
            valid = worst <= LAG_MAX_S
            verdict = "" if valid else "   NOT VALID: the generator fell behind"
            print(f"{fault.name:<8} generator's longest lag {worst * 1000:.0f} ms{verdict}")
            if valid:
                whole = [run["whole"] for run in runs]
                over = over or percentile(whole, 0.99) > WHOLE_WITHIN_S
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
