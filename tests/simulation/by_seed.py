"""Run plans that are drawn by seed from the command line: one of them, or one after the other."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from tests.simulation.plan import Plan
from tests.simulation.run import Result, Run, simulate


class BySeed:
    """The seeds of *module*: how each is drawn and run, and what is printed of it."""

    def __init__(
        self, module: str, make_plan: Callable[[int], Plan], make_run: Callable[..., Run]
    ) -> None:
        self._module = module
        self._make_plan = make_plan
        self._make_run = make_run

    def parser(self, description: str | None) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--seed", type=int, help="run this one alone, and print its log")
        parser.add_argument("--seeds", type=int, default=100, help="how many to run (100)")
        parser.add_argument("--first", type=int, default=1, help="the first of them (1)")
        parser.add_argument("--survey", action="store_true", help="run all, whatever breaks")
        return parser

    def run(self, options: Any) -> int:
        """Return the exit status: 1 where a promise was broken."""
        if options.seed is not None:
            result = self._simulate(options.seed)
            print("\n".join(result.log))
            return self._report(options.seed, result.violations)
        began, ran, failed = time.monotonic(), 0, 0
        for seed in range(options.first, options.first + options.seeds):
            ran += 1
            failed += self._report(seed, self._simulate(seed).violations)
            if failed and not options.survey:
                break
        took_s = time.monotonic() - began
        print(f"{ran} seeds from {options.first} in {took_s:.1f} s, {failed} failed")
        return int(failed > 0)

    def _simulate(self, seed: int) -> Result:
        return simulate(self._make_plan(seed), self._make_run)

    def _report(self, seed: int, violations: list[str]) -> int:
        if not violations:
            return 0
        print(f"seed {seed} breaks:")
        for text in violations:
            print(f"  {text}")
        for action in self._make_plan(seed).actions:
            print(f"    {action}")
        print(f"again: python -m {self._module} --seed {seed}", flush=True)
        return 1
