"""One turn with all that a card shows, by seed: what ``cards.md`` promises of it holds."""

from __future__ import annotations

import pytest

from tests.kit.sizes import NIGHTLY
from tests.simulation.cards.regressions import REGRESSIONS, undone
from tests.simulation.command import simulation

SEEDS = 5_000 if NIGHTLY else 40
SEEDS_UNDONE = 2_000 if NIGHTLY else 5
FOUND_AT_ONCE = {"ticks-follow", "too-large-live"}
"""By one of the first five seeds; the others take a nightly run."""


@pytest.mark.timeout(3_600)
def test_no_seed_breaks_a_promise_of_the_cards() -> None:
    status, shown = simulation("tests.simulation.cards", "--seeds", str(SEEDS))
    assert status == 0, shown


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", sorted(REGRESSIONS if NIGHTLY else FOUND_AT_ONCE))
def test_a_seed_finds_what_is_undone(name: str) -> None:
    arguments = ("--undo", name, "--seeds", str(SEEDS_UNDONE))
    status, shown = simulation("tests.simulation.cards", *arguments)
    assert status == 1, shown


@pytest.mark.parametrize("name", sorted(REGRESSIONS))
def test_what_is_undone_is_done_again(name: str) -> None:
    """Of those that only a nightly run tries, too: what they replace is still there."""
    with undone(name):
        pass
