"""How long does nobody serve when the holder of a cluster is gone?

Two nodes as real processes, PostgreSQL, the sandbox platform, and six proxies over TLS, all
on this machine; a relay on each node's way to database, platform and proxies. The holder is
killed (SIGKILL), stopped (SIGSTOP), cut off (everything of it stops at the relays, and nothing
is closed) or cut from the database alone, when proxies stay with it until it sends them on; then
it is measured until the other node has claimed, printed its ready
line, acked its first event, and until every proxy is registered with it.

A run in which processes waited for a processor for over half of the time proves nothing, and
is marked so.

Ends with status 1 when the p99 of the whole is over 5 s.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Literal

import trio

from tests.cluster.machines import Machine, open_machine
from tests.cluster.nodes import Attached, Certificates, Fleet, echoing
from tests.kit import postgres
from tests.kit.daemon import Platform, open_platform
from tests.kit.starvation import STARVED_MAX, starved_so_far_s

Fault = Literal["SIGKILL", "SIGSTOP", "cut off", "no database"]
FAULTS: Final[tuple[Fault, ...]] = ("SIGKILL", "SIGSTOP", "cut off", "no database")

WHOLE_WITHIN_S = 5.0
RUN_WITHIN_S = 120.0
"""Against hanging; then it counts as not made."""
BEGUN_WITHIN_S = 15 * 60.0
PROXIES = ["boss", *(f"mate{number}" for number in range(5))]
PHASES = ("claimed", "ready", "first ack", "registered", "whole")


async def first_ack(platform: Platform, before: set[str]) -> None:
    """Send until one of what was sent since is acked."""
    chat = await platform.chat()
    number = 0
    while True:
        await platform.send(chat, f"served? {number}")
        number += 1
        for event in await platform.get("events"):
            if event["event_id"] not in before and any(
                push["ack"] == 200 for push in event["pushes"]
            ):
                return
        await trio.sleep(0.1)


def let_happen(fault: Fault, machine: Machine) -> None:
    if fault in ("cut off", "no database"):
        others = (*machine.platform, machine.proxies) if fault == "cut off" else ()
        for edge in (*machine.databases, *others):
            edge.let("stop")
    else:
        machine.may_start = trio.Event()
        machine.node.signal(signal.Signals[fault])


async def one_fault(
    server: postgres.Server, tls: Certificates, root: Path, fault: Fault, delay_s: float
) -> tuple[dict[str, float], float]:
    """Return seconds by phase, from the fault on, and how starved the machine was."""
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(open_platform())
        fleet = Fleet(platform, root, server.url(), root.name, tls)
        a, b = [
            await stack.enter_async_context(open_machine(name, [server], platform, {}))
            for name in "ab"
        ]
        nursery = await stack.enter_async_context(trio.open_nursery())
        for machine in (a, b):
            for edge in machine.databases:
                edge.delay_s = delay_s
            await nursery.start(machine.keep, fleet)
            line = "larkd ready on" if machine is a else "larkd standing by on"
            await machine.node.wait_line(line)
        proxies = await stack.enter_async_context(echoing([a.node, b.node], PROXIES, tls))
        for proxy in proxies:
            await proxy.wait_registered("a")
        await platform.wait_connected()
        await trio.sleep(2)
        before = {event["event_id"] for event in await platform.get("events")}
        starved_s, began = starved_so_far_s(), trio.current_time()
        let_happen(fault, a)
        found = await measured(b, platform, proxies, before, began)
        starved = (starved_so_far_s() - starved_s) / (trio.current_time() - began)
        nursery.cancel_scope.cancel()
    return found, starved


async def in_time(
    server: postgres.Server, tls: Certificates, root: Path, fault: Fault, delay_s: float
) -> tuple[dict[str, float], float] | None:
    """Make one run; None: it was not over in time."""
    with trio.move_on_after(RUN_WITHIN_S):
        return await one_fault(server, tls, root, fault, delay_s)
    return None


async def measured(
    successor: Machine,
    platform: Platform,
    proxies: list[Attached],
    before: set[str],
    began: float,
) -> dict[str, float]:
    found: dict[str, float] = {}

    async def acked() -> None:
        await first_ack(platform, before)
        found["first ack"] = trio.current_time() - began

    async def registered() -> None:
        at = [await proxy.wait_registered("b") for proxy in proxies]
        found["registered"] = max(at) - began

    async with trio.open_nursery() as nursery:
        nursery.start_soon(acked)
        nursery.start_soon(registered)
        await successor.node.wait_event("cluster.claimed")
        found["claimed"] = trio.current_time() - began
        found["ready"] = await successor.node.wait_ready() - began
    found["whole"] = max(found["first ack"], found["registered"])
    return found


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="of each fault (10)")
    parser.add_argument("--fault", choices=FAULTS, help="only this one (all)")
    parser.add_argument(
        "--way-ms",
        type=float,
        default=0.0,
        help="to the database and as long back, beside what it takes here (0)",
    )
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {len(PROXIES)} proxies, seconds from the fault", flush=True)
    over, began = False, time.monotonic()
    faults: tuple[Fault, ...] = FAULTS if options.fault is None else (options.fault,)
    with postgres.running() as server, tempfile.TemporaryDirectory() as directory:
        tls = Certificates.made(Path(directory))
        for fault in faults:
            runs: list[dict[str, float]] = []
            starved: list[float] = []
            for number in range(options.times):
                if time.monotonic() - began > BEGUN_WITHIN_S:
                    break
                name = f"{fault.lower().replace(' ', '_')}_{number}"
                root = Path(directory) / name
                root.mkdir()
                made = trio.run(in_time, server, tls, root, fault, options.way_ms / 1_000)
                if made is None:
                    print(f"{fault:<11} not over after {RUN_WITHIN_S:.0f} s", flush=True)
                    continue
                found, share = made
                shown = "   ".join(f"{phase} {found[phase]:.2f}" for phase in PHASES)
                print(f"{fault:<11} {shown}   starved {share:.0%}", flush=True)
                runs.append(found)
                starved.append(share)
            whole = len(runs) == options.times
            over |= not whole or not report(fault, runs, starved)
            if not whole:
                print(f"{fault:<11} {len(runs)} of {options.times} runs were made: no verdict")
    return int(over)


def report(fault: Fault, runs: list[dict[str, float]], starved: list[float]) -> bool:
    """Print the phases; return whether the goal was met."""
    quiet = [run for run, share in zip(runs, starved, strict=True) if share <= STARVED_MAX]
    shown = quiet or runs
    for phase in PHASES:
        values = [run[phase] for run in shown]
        print(
            f"{fault:<11} {phase:<11} p50 {statistics.median(values):5.2f}"
            f"   p99 {percentile(values, 0.99):5.2f}"
        )
    verdict = "" if quiet else "   NOT VALID: the machine was busy with something else"
    print(
        f"{fault:<11} {len(quiet)} of {len(runs)} runs on a quiet machine; processes waited for a"
        f" processor {statistics.median(starved):.0%} of the time{verdict}",
        flush=True,
    )
    return bool(quiet) and percentile([run["whole"] for run in quiet], 0.99) <= WHOLE_WITHIN_S


if __name__ == "__main__":
    sys.exit(main())
