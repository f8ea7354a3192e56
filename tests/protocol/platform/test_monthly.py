"""The monthly budget: what is left out, in which order."""

from __future__ import annotations

import time

import pytest

from protocol.platform.budget import Budget, Want
from protocol.platform.monthly import allowed_priority, month_of


@pytest.mark.parametrize(
    ("used", "allowed"),
    [(0, 4), (799, 4), (800, 3), (949, 3), (950, 2), (970, 1), (999, 1), (1_000, 0), (5_000, 0)],
)
def test_ticks_go_first_then_text_then_all_but_ends(used: int, allowed: int) -> None:
    assert allowed_priority(used, 1_000) == allowed


def test_a_budget_of_nothing_is_used_up() -> None:
    assert allowed_priority(0, 0) == 0


def test_months_are_of_the_calendar() -> None:
    assert [month_of(at) for at in (0, 2_678_399_999, 2_678_400_000)] == [
        "1970-01",
        "1970-01",
        "1970-02",
    ]


def test_who_may_not_go_waits_and_goes_when_the_month_is_new() -> None:
    budget: Budget[str] = Budget()
    budget.allow_up_to(3)
    budget.wait("tick", Want(apis=("a",), priority=4), 0.0)
    assert budget.next_ready(0.0) == (None, None)
    budget.wait("text", Want(apis=("a",), priority=3), 0.0)
    ready, _ = budget.next_ready(0.0)
    assert ready is not None
    assert ready.waiter == "text"
    budget.allow_up_to(0)
    budget.wait("final", Want(apis=("a",), priority=0), 0.0)
    budget.wait("create", Want(apis=("b",), priority=1), 0.0)
    ready, _ = budget.next_ready(1.0)
    assert ready is not None
    assert ready.waiter == "final"
    assert budget.next_ready(2.0)[0] is None
    budget.allow_up_to(4)
    gone = [budget.next_ready(at)[0] for at in (3.0, 4.0)]
    assert {ready.waiter for ready in gone if ready is not None} == {"create", "tick"}


def test_months_are_those_of_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Etc/GMT-14")
    time.tzset()
    try:
        assert month_of(2_678_399_999) == "1970-01"
    finally:
        monkeypatch.undo()
        time.tzset()
