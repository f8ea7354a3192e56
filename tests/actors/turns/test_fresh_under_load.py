"""What readers see of many turns at once: ``cards.md``, "Fresh text under load"."""

from __future__ import annotations

import os

import pytest
import trio
from trio.testing import MockClock

from tests.actors.turns.under_load import ROUND_TRIP_S, Load

NIGHTLY = bool(os.environ.get("LARKD_NIGHTLY"))


def under_load(turns: int, seconds: float) -> Load:
    load = Load(turns, seconds)
    trio.run(load.run, clock=MockClock(autojump_threshold=0))
    return load


@pytest.mark.timeout(600)
def test_a_hundred_turns_stay_fresh_and_meet_no_limit() -> None:
    load = under_load(100, 60.0 if NIGHTLY else 20.0)
    ages = load.ages
    assert load.platform.limited == 0
    assert ages.text_at(0.5) <= 1.2
    assert ages.text_at(0.99) <= 3.5
    assert max(ages.first) <= 2.5
    # All 100 end in one moment; the platform takes 50 of them in a second, some of which
    # its answers' way back leaves unused.
    assert sorted(ages.final)[39] <= 1 + ROUND_TRIP_S
    assert max(ages.final) <= 3 + ROUND_TRIP_S


def test_ten_turns_look_like_typing() -> None:
    load = under_load(10, 20.0)
    assert load.platform.limited == 0
    assert load.ages.text_at(0.5) <= 0.4
    assert max(load.ages.final) <= 1 + ROUND_TRIP_S
