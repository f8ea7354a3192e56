"""Fixtures every test may ask for, the profile of hypothesis, and the limit of a test."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import pytest_timeout

from tests.kit import postgres, virtual_time
from tests.kit.limits import keep_stderr, set_timer
from tests.kit.order import longest_first
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


SEEDS = "tests/simulation/test_simulation.py::test_no_seed_breaks_a_promise"
LONGEST = (
    *(f"{SEEDS}[0]", "tests/cluster/test_seeds.py"),
    *(f"{SEEDS}[1]", "tests/cluster/test_takeover.py"),
    *(f"{SEEDS}[2]", "tests/cluster/test_fleet.py"),
    *(f"{SEEDS}[3]", "tests/daemon/test_upgrade.py"),
    *(f"{SEEDS}[4]", "tests/packaging/test_fresh.py"),
    *(f"{SEEDS}[5]", "tests/packaging/test_manifests.py"),
    *("tests/simulation/test_card_faults.py", "tests/packaging/test_service.py"),
    *("tests/actors/sandbox/test_page.py", "tests/daemon/test_command_answers.py"),
    *("tests/actors/proxies/test_official_clients.py", "tests/cluster/test_refusals.py"),
    *("tests/protocol/routing/test_lease_exhaustive.py", "tests/daemon/test_chat_page.py"),
)
"""These begin first: at the end, one of them would keep one core and leave the others idle.

What computes and what waits by turns, so that not all that begin at once compute.
"""


def pytest_xdist_auto_num_workers() -> int:
    """Two processes of tests per core: half of the time of one passes with waiting.

    Measured on two cores: 9 min with one per core, 6 min with two.
    """
    return 2 * len(os.sched_getaffinity(0))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    virtual_time.mark(items)
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = longest_first(items, LONGEST, workers)


def pytest_collection_finish() -> None:
    """Leave the thousands of tests out of every collection of garbage from now on."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    keep_stderr(config)


def pytest_timeout_set_timer(item: pytest.Item, settings: pytest_timeout.Settings) -> bool:
    """End a test that takes too long, with the tasks it hangs in."""
    return set_timer(item, settings)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A place for a daemon's state that does not exist yet."""
    return tmp_path / "state"


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """One PostgreSQL server for all tests of one process; each takes a cluster of its own."""
    with postgres.running() as running:
        yield running
