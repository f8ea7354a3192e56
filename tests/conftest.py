"""Fixtures every test may ask for, the profile of hypothesis, and the limit of a test."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
import pytest_timeout

from tests.kit.limits import keep_stderr, set_timer
from tests.kit.sizes import MUTATING, NIGHTLY, examples

# A machine that is busy is no reason to fail: there is no deadline for one example, and
# drawing slowly is no health problem. CI always tries the same examples. mutmut runs the tests
# of one process more than once, each time with new instances of their classes.
hypothesis.settings.register_profile(
    "tests",
    deadline=None,
    database=None,
    max_examples=examples(100),
    derandomize=bool(os.environ.get("CI")) and not NIGHTLY,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        *([hypothesis.HealthCheck.differing_executors] if MUTATING else []),
    ],
)
hypothesis.settings.load_profile("tests")


LONGEST = (
    "tests/simulation/test_simulation.py::test_no_seed_breaks_a_promise",
    "tests/cluster/test_seeds.py",
    "tests/cluster/test_fleet.py",
    "tests/cluster/test_takeover.py",
    "tests/simulation/test_card_faults.py",
    "tests/simulation/test_teeth.py",
)
"""These begin first: at the end, one of them would keep one core and leave the others idle."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_configure(config: pytest.Config) -> None:
    keep_stderr(config)


def pytest_timeout_set_timer(item: pytest.Item, settings: pytest_timeout.Settings) -> bool:
    """End a test that takes too long, with the tasks it hangs in."""
    return set_timer(item, settings)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A place for a daemon's state that does not exist yet."""
    return tmp_path / "state"
