"""The rate budget holds the platform's windows, and is fair within them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.platform.budget import Budget, Want

PLATFORM_PER_SECOND = 50
PLATFORM_PER_MINUTE = 1_000
PLATFORM_PER_CARD = 10
FINAL, TEXT, TICK = 0, 3, 4


def spend(budget: Budget[int], until: float, *, start: float = 0.0) -> list[tuple[float, int]]:
    """Let everybody go who may until *until*; return when each went."""
    now, went = start, []
    while now <= until:
        ready, again = budget.next_ready(now)
        if ready is not None:
            went.append((now, ready[0]))
            continue
        if again is None:
            break
        now = max(again, now + 1e-6)
    return went


def most_within(times: list[float], span: float) -> int:
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - span:
            first += 1
        most = max(most, last - first + 1)
    return most


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=1_500))
def test_no_window_of_the_platform_is_ever_passed(calls: list[tuple[int, int]]) -> None:
    budget: Budget[int] = Budget()
    for number, (priority, card) in enumerate(calls):
        assert budget.wait(number, Want(api="a", priority=priority, resource=f"card {card}"))
    went = spend(budget, 600)
    assert len(went) == len(calls), "everybody goes in the end"
    times = [at for at, _ in went]
    assert most_within(times, 1) <= PLATFORM_PER_SECOND
    assert most_within(times, 60) <= PLATFORM_PER_MINUTE
    for card in {card for _, card in calls}:
        own = [at for at, number in went if calls[number][1] == card]
        assert most_within(own, 1) <= PLATFORM_PER_CARD


def test_final_states_go_before_text_and_the_oldest_first() -> None:
    budget: Budget[int] = Budget()
    for number in range(20):
        budget.wait(number, Want(api="a", priority=TEXT, resource=f"c{number}"))
    for number in range(100, 105):
        budget.wait(number, Want(api="a", priority=FINAL, resource=f"c{number}"))
    order = [number for _, number in spend(budget, 10)]
    assert order == [*range(100, 105), *range(20)]


def test_text_never_uses_up_the_minute_that_final_states_need() -> None:
    budget: Budget[int] = Budget()
    for number in range(2_000):
        budget.wait(number, Want(api="a", priority=TEXT, resource=f"c{number}"))
    spend(budget, 30)
    budget.wait(9_999, Want(api="a", priority=FINAL, resource="c"))
    (at, number), *_ = spend(budget, 40, start=30)
    assert number == 9_999
    assert at < 32


def test_one_busy_card_does_not_hold_up_the_others() -> None:
    budget: Budget[int] = Budget()
    for number in range(40):
        budget.wait(number, Want(api="a", priority=TEXT, resource="busy"))
    budget.wait(99, Want(api="a", priority=TEXT, resource="quiet"))
    went = {number: at for at, number in spend(budget, 0.5)}
    assert 99 in went


def test_a_learned_limit_pauses_that_api_alone() -> None:
    budget: Budget[int] = Budget()
    budget.limited("a", 5.0, now=0.0)
    budget.wait(1, Want(api="a", priority=FINAL))
    budget.wait(2, Want(api="b", priority=FINAL))
    assert spend(budget, 20) == [(0.0, 2), (5.0, 1)]


def test_a_learned_limit_slows_down_for_a_while() -> None:
    def in_a_second(start: float, *, limited: int) -> int:
        budget: Budget[int] = Budget()
        for _ in range(limited):
            # Of the same pause, so it is one lesson, however many calls got it.
            budget.limited("a", 1.0, now=0.0)
        for number in range(100):
            budget.wait(number, Want(api="a", priority=FINAL))
        return len(spend(budget, start + 0.999, start=start))

    full = in_a_second(1.0, limited=0)
    slower = in_a_second(1.0, limited=1)
    assert full * 0.6 < slower < full
    assert in_a_second(1.0, limited=10) == slower
    assert in_a_second(130.0, limited=1) == full


def test_a_card_too_often_called_pauses_alone() -> None:
    budget: Budget[int] = Budget()
    budget.limited_resource("card", 2.0, now=0.0)
    budget.wait(1, Want(api="a", priority=FINAL, resource="card"))
    budget.wait(2, Want(api="a", priority=TEXT, resource="other"))
    assert spend(budget, 20) == [(0.0, 2), (2.0, 1)]


def test_a_hundred_cards_share_what_there_is_evenly() -> None:
    budget: Budget[int] = Budget()
    updates = dict.fromkeys(range(100), 0)
    for card in updates:
        budget.wait(card, Want(api="a", priority=TEXT, resource=f"c{card}"))
    now = 0.0
    while now < 60:
        ready, again = budget.next_ready(now)
        if ready is None:
            assert again is not None
            now = again
            continue
        card, want = ready
        updates[card] += 1
        budget.wait(card, want)
    assert max(updates.values()) - min(updates.values()) <= 1
    assert min(updates.values()) >= 7


def test_a_refund_gives_the_call_back() -> None:
    budget: Budget[int] = Budget()
    want = Want(api="a", priority=FINAL, resource="c", resource_per_second=1)
    budget.wait(1, want)
    ready, _ = budget.next_ready(0.0)
    assert ready is not None
    budget.refund(want)
    budget.wait(2, want)
    assert budget.next_ready(0.0)[0] == (2, want)


def test_too_many_waiters_are_refused() -> None:
    budget: Budget[int] = Budget()
    want = Want(api="a", priority=TEXT)
    assert all(budget.wait(number, want) for number in range(10_000))
    assert not budget.wait(10_000, want)


def test_a_minute_is_shared_evenly_so_that_no_card_stands_still() -> None:
    """A hundred cards that always want more: each goes on all the time, as far as it goes."""
    budget: Budget[int] = Budget()
    want = Want(api="content", priority=3)
    for card in range(100):
        budget.wait(card, want)
    went: dict[int, list[float]] = {card: [] for card in range(100)}
    now = 0.0
    while now < 120:
        ready, again_at = budget.next_ready(now)
        if ready is None:
            assert again_at is not None
            now = max(now + 0.001, again_at)
            continue
        went[ready[0]].append(now)
        budget.wait(ready[0], want)
    fair_s = 100 / 12
    gaps = [after - before for times in went.values() for before, after in pairwise(times)]
    assert max(gaps) <= 2 * fair_s, "no card starved beyond twice its fair share"
    last_minute = sum(at >= 60 for times in went.values() for at in times)
    assert 700 <= last_minute <= 725


def test_a_few_cards_go_as_fast_as_they_come() -> None:
    budget: Budget[int] = Budget()
    for number in range(50):
        budget.wait(number, Want(api="content", priority=3))
    now = 0.0
    for _ in range(50):
        ready, again_at = budget.next_ready(now)
        while ready is None:
            assert again_at is not None
            now = max(now + 0.001, again_at)
            ready, again_at = budget.next_ready(now)
    assert now < 2.0


def test_the_first_words_of_a_hundred_turns_go_at_once_even_after_minutes_of_ticks() -> None:
    budget: Budget[int] = Budget()
    tick = Want(api="content", priority=TICK)
    for _ in range(200):
        budget.wait(-1, tick)
    spend(budget, 10.0)  # as long as 200 ticks want to be shown, and more come
    for _ in range(200):
        budget.wait(-1, tick)
    for card in range(100):
        budget.wait(card, Want(api="content", priority=TEXT))
    words = [at for at, who in spend(budget, 20.0, start=10.0) if who >= 0]
    assert len(words) == 100
    assert words[-1] - 10.0 < 100 / 40 + 0.5
