"""Fuzzing each boundary: some thousand inputs in each run of the tests, 120,000 at night."""

from __future__ import annotations

import random
import time

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS
from tests.kit.sizes import NIGHTLY

INPUTS = 20_000 if NIGHTLY else 500
SLOWEST_S = 2.0
"""Of one input of some KiB, on a machine that runs other tests beside."""


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_whatever_comes_is_read_or_refused_and_soon(name: str) -> None:
    take, seeds = TARGETS[name]
    for seed in seeds:
        take(seed)
    for number in range(INPUTS):
        data = mutated(random.Random(f"{name} {number}"), seeds)
        began_at = time.thread_time()
        try:
            take(data)
        except Exception as crash:
            raise AssertionError(f"input {number} of {name}: {data[:2_000]!r}") from crash
        assert time.thread_time() - began_at < SLOWEST_S, (number, data[:2_000])
