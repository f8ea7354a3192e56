"""The even rate of one API, and how fast it was learnt to take calls."""

from __future__ import annotations

import pytest

from protocol.platform.window import MINUTE_S, Pace


def test_a_call_that_did_not_leave_gives_its_place_back() -> None:
    pace = Pace(per_minute=600, burst=30)
    pace.leave(10.0, 1.0)
    pace.leave(10.0, 1.0)
    free_at = pace.free_at(1.0, ahead=1)
    pace.leave(10.0, 1.0)
    pace.refund(1.0)
    assert pace.free_at(1.0, ahead=1) == pytest.approx(free_at)


def test_calls_keep_to_an_even_rate_with_a_burst_ahead_of_it() -> None:
    pace = Pace(per_minute=600, burst=30)
    rate = pace.per_second(1.0)
    assert rate == pytest.approx(570 / MINUTE_S)
    for _ in range(19):
        pace.leave(0.0, 1.0)
    assert pace.free_at(1.0, ahead=1) == pytest.approx(19 / rate)
    assert pace.free_at(1.0, ahead=20) == pytest.approx(0.0)
    assert pace.free_at(1.0, ahead=100) == pace.free_at(1.0, ahead=30)
    assert pace.free_at(2.0, ahead=20) == pytest.approx(9.5 / rate), "a faster rate pays sooner"


def test_a_burst_is_never_over_a_quarter_of_the_minute_and_can_be_used_up() -> None:
    assert Pace(per_minute=40, burst=30).burst == 10
    pace = Pace(per_minute=600, burst=30)
    pace.use_up(5.0)
    assert pace.free_at(1.0, ahead=30) == pytest.approx(5.0 + MINUTE_S / 570)
