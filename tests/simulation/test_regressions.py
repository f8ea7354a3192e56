"""A mend that is undone is found: each by some seed, the supervisor's by its own model."""

from __future__ import annotations

import hypothesis
import pytest

from tests.actors.kit.test_supervisor import CHILDREN, assert_each_runs_as_if_alone
from tests.kit.sizes import NIGHTLY
from tests.simulation.command import simulation
from tests.simulation.regressions import REGRESSIONS, undone
from tests.simulation.regressions.supervision import one_keeper

SEEDS = 1_000 if NIGHTLY else 5
FOUND_AT_ONCE = {"lost-answer", "sequence-reused", "typing-stays"}
"""By one of the first five seeds; the others take a nightly run."""


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    "name",
    [one.name for one in REGRESSIONS if NIGHTLY or one.name in FOUND_AT_ONCE],
)
def test_a_seed_finds_what_is_undone(name: str) -> None:
    status, shown = simulation(
        "tests.simulation", "--undo", name, "--seeds", str(SEEDS), "--no-shrink"
    )
    assert status == 1, shown


@pytest.mark.parametrize("name", [one.name for one in REGRESSIONS])
def test_what_is_undone_is_done_again(name: str) -> None:
    """Of those that only a nightly run tries, too: what they replace is still there."""
    with undone(name):
        pass


def test_the_model_finds_a_supervisor_that_keeps_one_child_at_a_time() -> None:
    """That it does is enough: the failure is not made smaller."""
    found = hypothesis.settings(phases=[hypothesis.Phase.generate])
    with one_keeper(), pytest.raises(BaseException, match=r"c\d|assert"):
        found(hypothesis.given(*CHILDREN)(assert_each_runs_as_if_alone))()
