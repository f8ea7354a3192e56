"""``python -m tests.simulation --seed 7``, or ``--seeds 1000``: run seeds, shrink what fails."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext

from tests.simulation.command import begin_alike
from tests.simulation.regressions import REGRESSIONS, undone
from tests.simulation.run import simulate
from tests.simulation.schedules import make_plan
from tests.simulation.shrink import kind_of, shrink


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one alone, and print its log")
    parser.add_argument("--seeds", type=int, default=100, help="how many to run (100)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--these", type=int, nargs="+", help="run these instead")
    parser.add_argument("--survey", action="store_true", help="run all, and count what breaks")
    parser.add_argument(
        "--known", action="append", default=[], help="go on after what begins so (repeatable)"
    )
    parser.add_argument(
        "--undo",
        choices=[one.name for one in REGRESSIONS],
        help="run without this mend",
    )
    parser.add_argument("--no-shrink", action="store_true", help="print a failing plan as it is")
    options = parser.parse_args()
    begin_alike("tests.simulation")
    with undone(options.undo) if options.undo else nullcontext():
        return run(options)


def run(options: argparse.Namespace) -> int:
    if options.seed is not None:
        result = simulate(make_plan(options.seed))
        print("\n".join(result.log))
        return report(options.seed, result.violations, shrinks=not options.no_shrink)
    seeds = options.these or range(options.first, options.first + options.seeds)
    if options.survey:
        return survey(seeds)
    began, ran, failed = time.monotonic(), 0, 0
    for seed in seeds:
        ran += 1
        broken = [
            text
            for text in simulate(make_plan(seed)).violations
            if not text.startswith(tuple(options.known))
        ]
        if broken:
            failed += 1
            report(seed, broken, shrinks=not options.no_shrink)
            break
    print(f"{ran} seeds from {seeds[0]} in {time.monotonic() - began:.1f} s, {failed} failed")
    return 1 if failed else 0


def survey(seeds: Sequence[int]) -> int:
    """Run all of them; print how many break which promise, and the first that does."""
    found: dict[str, list[int]] = {}
    for seed in seeds:
        for kind in {kind_of(text) for text in simulate(make_plan(seed)).violations}:
            found.setdefault(kind, []).append(seed)
    for kind, failing in sorted(found.items(), key=lambda one: -len(one[1])):
        print(f"{len(failing):5} of {len(seeds)}, first {failing[:4]}: {kind}")
    return 1 if found else 0


def report(seed: int, violations: list[str], *, shrinks: bool) -> int:
    if not violations:
        return 0
    print(f"seed {seed} breaks:")
    for text in violations:
        print(f"  {text}")
    plan = make_plan(seed)
    if shrinks:
        plan, violations = shrink(plan, violations)
        print(f"still, with {len(plan.actions)} actions:")
        for text in violations:
            print(f"  {text}")
    for action in plan.actions:
        print(f"    {action}")
    print(f"again: python -m tests.simulation --seed {seed}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
