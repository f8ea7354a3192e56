"""``python -m tests.simulation.cards --seed 7``, or ``--seeds 1000``: one turn by seed."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import nullcontext

from tests.simulation.cards.plan import make_card_plan
from tests.simulation.cards.regressions import REGRESSIONS, undone
from tests.simulation.cards.world import CardRun
from tests.simulation.command import begin_alike
from tests.simulation.run import simulate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one alone, and print its log")
    parser.add_argument("--seeds", type=int, default=100, help="how many to run (100)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--survey", action="store_true", help="run all, whatever breaks")
    parser.add_argument("--undo", choices=sorted(REGRESSIONS), help="run without this mend")
    options = parser.parse_args()
    begin_alike("tests.simulation.cards")
    with undone(options.undo) if options.undo else nullcontext():
        return run(options)


def run(options: argparse.Namespace) -> int:
    if options.seed is not None:
        result = simulate(make_card_plan(options.seed), CardRun)
        print("\n".join(result.log))
        return report(options.seed, result.violations)
    began, ran, failed = time.monotonic(), 0, 0
    for seed in range(options.first, options.first + options.seeds):
        ran += 1
        failed += report(seed, simulate(make_card_plan(seed), CardRun).violations)
        if failed and not options.survey:
            break
    print(f"{ran} seeds from {options.first} in {time.monotonic() - began:.1f} s, {failed} failed")
    return int(failed > 0)


def report(seed: int, violations: list[str]) -> int:
    if not violations:
        return 0
    print(f"seed {seed} breaks:")
    for text in violations:
        print(f"  {text}")
    for action in make_card_plan(seed).actions:
        print(f"    {action}")
    print(f"again: python -m tests.simulation.cards --seed {seed}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
