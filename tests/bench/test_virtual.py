"""The policies that cards are compared with do what they are to do, while no limit is near."""

from __future__ import annotations

import pytest

from bench.virtual import CONTESTANTS, Outcome, run


@pytest.mark.parametrize("name", CONTESTANTS)
def test_a_few_turns_show_all_their_text(name: str) -> None:
    outcome = run(name, turns=3, seconds=4.0, round_trip_s=0.1, seed=1)
    assert (outcome.limited, outcome.incomplete, outcome.live) == (0, 0, 0)
    assert len(outcome.final) == len(outcome.readings) == 3
    assert run(name, turns=3, seconds=4.0, round_trip_s=0.1, seed=1) == outcome


def test_a_fixed_pause_does_not_survive_sixty_turns() -> None:
    outcome: Outcome = run("fixed 800 ms", turns=60, seconds=20.0, round_trip_s=0.1, seed=1)
    assert outcome.limited > 0
    assert outcome.live > 0
