"""Making a failing plan as small as it goes, while it still fails in the same way."""

from __future__ import annotations

import re
import time

from tests.simulation.plan import Action, Plan
from tests.simulation.run import simulate

WITHIN_S = 60.0
"""Of real time: a plan of thirty actions takes some hundred runs."""


def shrink(plan: Plan, violations: list[str]) -> tuple[Plan, list[str]]:
    """Return the smallest plan found that breaks one of the same promises, and what it breaks."""
    kinds, until = {kind_of(text) for text in violations}, time.monotonic() + WITHIN_S
    size = max(1, len(plan.actions) // 2)
    while size >= 1 and time.monotonic() < until:
        smaller = _without_some(plan, size, kinds, until)
        if smaller is None:
            size //= 2
        else:
            plan, violations = smaller
            size = min(size, max(1, len(plan.actions) // 2))
    return plan, violations


def _without_some(
    plan: Plan, size: int, kinds: set[str], until: float
) -> tuple[Plan, list[str]] | None:
    for at in range(0, len(plan.actions), size):
        kept: tuple[Action, ...] = plan.actions[:at] + plan.actions[at + size :]
        tried = Plan(seed=plan.seed, actions=kept)
        broken = [text for text in simulate(tried).violations if kind_of(text) in kinds]
        if broken:
            return tried, broken
        if time.monotonic() > until:
            return None
    return None


def kind_of(violation: str) -> str:
    """The promise that was broken, without which message or card it was."""
    return re.sub(r"\d+|\(.*?\)|\[.*?\]", "", violation)
