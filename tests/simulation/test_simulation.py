"""The whole daemon by seed: what it promises holds at the end of each run."""

from __future__ import annotations

import pytest

from tests.kit.sizes import NIGHTLY
from tests.simulation.command import simulation

SEEDS = 20_000 if NIGHTLY else 300
PARTS = 40 if NIGHTLY else 6
"""Of the seeds, so that each core has some: a process runs one part."""
REGRESSIONS = {
    412: "a request's card, cut off as it was sent at the end of the process",
    631: "marks in doubt were looked for late, since the first look was slow",
    679: "the same as 412",
    968: "the same as 412",
    3_341: "an agent that was closed as the actor of agents started again ran on, kept by nobody",
    5_957: "a card was sent by a copy of a call whose answer was that its message is recalled",
    10_702: "a press committed so late that its connection had given it up, and nothing came after",
    11_038: "a stop word whose lane crashed before a card of its turn was there",
    11_804: "a prompt in flight followed its chat away from a session that was away",
    13_879: "a chat of another account dropped a prompt, whose waiting mark stayed",
    17_586: "an agent that was started while the journal was slow did not come back",
}
"""Seeds over the first 300 that broke something once; they hold for the plans of today."""


def test_the_same_seed_gives_the_same_log() -> None:
    first, second = (
        simulation("tests.simulation", "--seed", "11", "--no-shrink") for _ in range(2)
    )
    assert len(first[1].splitlines()) > 50
    assert first == second


def test_what_broke_once_does_not_break_again() -> None:
    status, shown = simulation("tests.simulation", "--no-shrink", "--these", *map(str, REGRESSIONS))
    assert status == 0, shown


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_seed_breaks_a_promise(part: int) -> None:
    count = SEEDS // PARTS
    first = str(part * count + 1)
    status, shown = simulation("tests.simulation", "--seeds", str(count), "--first", first)
    assert status == 0, shown
