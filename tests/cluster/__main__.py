"""``python -m tests.cluster --seed 7 --runs 20``: faults by seed, and what was promised."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import trio

from tests.cluster.driver import Plan, Run, drive
from tests.cluster.nodes import Certificates
from tests.cluster.promises import violations
from tests.kit.starvation import STARVED_MAX

FAULTS = 5
LONGEST_S = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="of the first run (a fresh one)")
    parser.add_argument("--runs", type=int, default=1, help="(1)")
    parser.add_argument("--faults", type=int, default=FAULTS, help=f"of each run ({FAULTS})")
    parser.add_argument("--longest", type=float, default=LONGEST_S, help="fault, in seconds (20)")
    parser.add_argument("--keep", type=Path, help="where states and logs of the nodes stay")
    options = parser.parse_args()
    first = options.seed
    if first is None:
        first = random.SystemRandom().randrange(1_000_000)
    met: Counter[str] = Counter()
    broken = 0
    with tempfile.TemporaryDirectory() as directory:
        tls = Certificates.made(Path(directory))
        for seed in range(first, first + options.runs):
            plan = Plan.made(seed, options.faults, options.longest)
            shown = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in plan.faults)
            print(f"seed {seed}: {shown}", flush=True)
            root = (options.keep or Path(directory)) / str(seed)
            root.mkdir(parents=True)

            async def one(seed: int = seed, root: Path = root) -> Run:
                return await drive(
                    seed, root, tls, faults=options.faults, longest_s=options.longest
                )

            run = trio.run(one)
            met.update(trouble.kind for trouble in run.troubles)
            found = violations(run)
            broken += bool(found)
            print(f"    {len(run.given)} deliveries, {len(run.claims)} claims, {_times(run)}")
            for text in found:
                print(f"    BROKEN {text}", flush=True)
    print(f"{options.runs} runs, {broken} with broken promises; met: {dict(met)}")
    return int(broken > 0)


def _times(run: Run) -> str:
    return "; ".join(
        f"{one.kind} of {one.node} at {one.began:.1f}"
        + (f" → {one.successor}" if one.successor else "")
        + (f" ack {one.acked_s:.1f}" if one.acked_s else "")
        + (f" registered {one.registered_s:.1f}" if one.registered_s else "")
        + (f" starved {one.starved:.0%}" if one.starved > STARVED_MAX else "")
        for one in run.troubles
    )


if __name__ == "__main__":
    sys.exit(main())
