"""Trio's order of tasks from a seed, so that a run can be repeated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trio._core import _run as trio_scheduler  # the scheduler's own randomness has no other way in


@contextmanager
def seeded_scheduler(seed: int) -> Iterator[None]:
    """Let the order of tasks come from *seed*, as pytest-trio does it for hypothesis."""
    known, state = trio_scheduler._ALLOW_DETERMINISTIC_SCHEDULING, trio_scheduler._r.getstate()
    trio_scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # its own switch
    trio_scheduler._r.seed(f"schedule {seed}")
    try:
        yield
    finally:
        trio_scheduler._ALLOW_DETERMINISTIC_SCHEDULING = known  # type: ignore[misc]  # as above
        trio_scheduler._r.setstate(state)
