"""Each endpoint of cards refuses, by each code, while a turn is shown by the whole daemon.

Whatever is refused: no card is live at rest, its ledger is closed, the turn's text is there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeVar

import pytest

from tests.kit.sizes import NIGHTLY
from tests.simulation import plan as plans
from tests.simulation.run import simulate

T = TypeVar("T")

ENDPOINTS = {
    "create": "/cardkit/v1/cards$",
    "send": "/reply$",
    "whole card": "/cardkit/v1/cards/[^/]+$",
    "content": "/content$",
    "batch": "/batch_update$",
    "element": "/elements/[^/]+$",
    "settings": "/settings$",
}
CODES = (
    99991400,  # rate limits
    230020,
    200850,  # streaming closed
    300309,
    300317,  # sequence refused
    200770,
    200810,  # busy with an interaction
    200860,  # too large
    230025,
    300305,
    230099,
    200750,  # gone
    200740,
    99991663,  # token
    99991672,  # missing scope
    500,  # nobody knows
)
GONE = (200750, 200740)
OTHERS: tuple[plans.HttpFaultKind, ...] = ("lost before", "lost after", "hangs", "twice", "late")
SEEDS = range(20) if NIGHTLY else range(1)
TIMES = ((0.9, 1), (3.0, 2), (3.0, 40))
"""When the fault begins, and for how many calls."""


def some(values: Sequence[T], endpoint: str) -> list[T]:
    """All of them nightly; else a few, others for each endpoint."""
    return list(values if NIGHTLY else values[list(ENDPOINTS).index(endpoint) :: 6])


def run(seed: int, *faults: plans.BadHttp, ends: plans.Action | None = None) -> None:
    actions: list[plans.Action] = [
        plans.Attach(at=0.0, session="boss"),
        plans.Write(at=1.0, chat="Alice", text="long"),
        *faults,
    ]
    if ends is not None:
        actions.append(ends)
    ordered = tuple(sorted(actions, key=lambda one: one.at))
    result = simulate(plans.Plan(seed=seed, actions=ordered))
    assert result.violations == [], "\n".join([*result.violations, *result.log[-40:]])


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_no_code_of_an_endpoint_leaves_a_card_live(endpoint: str) -> None:
    cases = [(code, number) for code in CODES for number in range(len(TIMES))]
    for seed, (code, number) in itertools.product(SEEDS, some(cases, endpoint)):
        at, calls = TIMES[number]
        if code in GONE and endpoint == "whole card":
            calls = min(calls, 4)  # what is answered again and again is believed
        part = ENDPOINTS[endpoint]
        fault = plans.BadHttp(at=at, kind="code", code=code, seconds=0.0, calls=calls, part=part)
        stop = plans.Write(at=5.0, chat="Alice", text="stop") if number == 1 else None
        run(seed * 7 + number, fault, ends=stop)


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_no_fault_of_the_way_to_an_endpoint_leaves_a_card_live(endpoint: str) -> None:
    cases = [(kind, dies) for kind in OTHERS for dies in (False, True)]
    for seed, (kind, dies) in itertools.product(SEEDS, some(cases, endpoint)):
        fault = plans.BadHttp(at=0.9, kind=kind, seconds=5.0, calls=3, part=ENDPOINTS[endpoint])
        run(seed, fault, ends=plans.Die(at=4.0, steps=20, down_s=0.5) if dies else None)
