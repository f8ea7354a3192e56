"""Times to wake up at together."""

from __future__ import annotations

import pytest

from actors.kit.clock import next_multiple


@pytest.mark.parametrize(("at", "expected"), [(0.0, 0.0), (0.01, 0.05), (0.05, 0.05), (7.26, 7.3)])
def test_what_waits_wakes_at_the_next_multiple(at: float, expected: float) -> None:
    assert next_multiple(at, 0.05) == pytest.approx(expected)


def test_it_is_never_before_what_is_waited_for() -> None:
    """Or who looks at the time again would find that it is not there yet, for ever."""
    assert all(next_multiple(number * 0.1, 0.1) >= number * 0.1 for number in range(10_000))
