"""``python -m tests.faults --seed 7 --cycles 200``: kill a daemon that often and check it."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import msgspec
import trio

from tests.faults.driver import drive
from tests.faults.history import Delivered, violations

CYCLES_A_RUN = 20
"""Of one platform and one journal; then both start anew with the next seed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="of the first run (a fresh one)")
    parser.add_argument("--cycles", type=int, default=200, help="kills in all (200)")
    parser.add_argument(
        "--round-trip", type=float, default=0.0, help="seconds a call to the platform takes (0)"
    )
    options = parser.parse_args()
    seed = options.seed
    if seed is None:
        seed = random.SystemRandom().randrange(1_000_000)
    left = options.cycles
    while left > 0:
        cycles = min(left, CYCLES_A_RUN)
        if not run(seed, cycles, options.round_trip):
            return 1
        left -= cycles
        seed += 1
    return 0


def run(seed: int, cycles: int, round_trip_s: float) -> bool:
    """Make one run and print what came of it."""
    with tempfile.TemporaryDirectory() as directory:
        history = trio.run(drive, seed, cycles, Path(directory) / "state", round_trip_s)
    broken = violations(history)
    given = sum(isinstance(one, Delivered) for one in history)
    print(f"seed {seed}: {cycles} kills, {given} deliveries, {len(broken)} broken promises")
    for text in broken:
        print(f"\n{text}")
        for one in history:
            fields = msgspec.structs.asdict(one)
            if fields.get("event") in text.split():
                print(f"    {one}")
    if broken:
        print(f"\nagain: make faults SEED={seed} CYCLES={cycles}", file=sys.stderr)
    return not broken


if __name__ == "__main__":
    sys.exit(main())
