"""The rate budget holds the platform's windows, and is fair within them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.platform.api_budget import Limits, Shares
from protocol.platform.budget import Budget, Want
from tests.kit.sizes import examples
from tests.protocol.platform.exact_limits import Simulation

FINAL, CREATE, STRUCTURE, TEXT, TICK = range(5)
TEXT_APIS = ("content", "batch", "patch", "card")
SHARES = {
    "content": Shares(spread=1.0),
    "batch": Shares(spread=1.0),
    "patch": Shares(spread=1.0),
    "card": Shares(text=0.5, second=0.5, text_burst=4),
}


def want(priority: int, *apis: str, card: object = None) -> Want:
    return Want(
        apis=apis or ("a",), priority=priority, resource=None if card is None else f"card {card}"
    )


def latencies(
    seed: int, longest_s: float, lost: float = 0.0
) -> Iterator[tuple[float, float | None]]:
    """Ways there and back of any length up to *longest_s*; some answers never come."""
    chance = Random(seed)
    while True:
        there = longest_s * chance.random() ** 3
        back = longest_s * chance.random() ** 3
        yield there, None if chance.random() < lost else back


# ── the platform's windows ──────────────────────────────────────────────────


@settings(max_examples=examples(30))
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=1_500),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.1, 0.5, 3.0]),
)
def test_no_window_of_the_platform_is_ever_passed_whatever_the_latency(
    calls: list[tuple[int, int]], seed: int, longest_s: float
) -> None:
    run = Simulation(Budget(), latencies(seed, longest_s, lost=0.02))
    chance = Random(seed)
    for number, (priority, card) in enumerate(calls):
        run.want(number, want(priority, card=card), at=chance.choice([0.0, 0.0, 3.0, 59.0]))
    assert len(run.run(3_000)) == len(calls), "everybody goes in the end"
    assert run.refused == 0


@pytest.mark.parametrize("seed", range(5))
def test_forty_turns_that_begin_together_are_never_counted_fifty_and_one(seed: int) -> None:
    """Creations, replies, first words and reactions at once, over a line that stutters."""
    run = Simulation(Budget(shares=SHARES), latencies(seed, 0.9))
    for turn in range(40):
        at = 0.002 * turn
        run.want(turn, want(CREATE, "create"), at)
        run.want(100 + turn, want(CREATE, "reply"), at + 0.2)
        for place in range(8):
            run.want(1_000 + turn, want(TEXT, *TEXT_APIS, card=turn), at + 0.3 + place)
        run.want(200 + turn, want(FINAL, "card", card=turn), at + 4)
    run.run(60)
    assert run.refused == 0
    assert len(run.gone) == 40 * 11


def test_two_bursts_a_second_apart_are_counted_where_they_arrive() -> None:
    """The first one arrives late, the second one at once: both in one second of the platform."""
    budget: Budget[int] = Budget()
    line = itertools.chain([(0.9, 0.1)] * 50, itertools.repeat((0.0, 0.0)))
    run = Simulation(budget, line)
    for number in range(100):
        run.want(number, want(FINAL), at=0.0 if number < 50 else 1.03)
    run.run(10)
    assert run.refused == 0
    assert len(run.gone) == 100


def test_a_lost_call_counts_for_a_while_after_it_was_given_up() -> None:
    budget: Budget[int] = Budget()
    for number in range(100):
        budget.wait(number, want(FINAL), 0.0)
    gone = [budget.next_ready(0.0)[0] for _ in range(50)]
    assert budget.next_ready(30.0) == (None, None), "only an answer frees a place"
    for ready in gone:
        assert ready is not None
        budget.lost(ready, 30.0)
    nobody, again_at = budget.next_ready(30.5)
    assert nobody is None
    assert again_at == pytest.approx(31.0)
    nobody, again_at = budget.next_ready(31.0)
    assert nobody is None, "it may have arrived just now"
    assert again_at == pytest.approx(32.02)
    assert budget.next_ready(32.03)[0] is not None


def test_the_limits_of_a_larger_app_are_used() -> None:
    run = Simulation(Budget(Limits(per_minute=6_000, per_second=200)))
    for number in range(400):
        run.want(number, want(FINAL))
    assert len(run.run(1.0)) == 200
    assert len(run.run(2.5)) == 400


# ── who goes ────────────────────────────────────────────────────────────────


def test_final_states_go_before_text_and_the_oldest_first() -> None:
    run = Simulation(Budget())
    for number in range(20):
        run.want(number, want(TEXT, card=number))
    for number in range(100, 105):
        run.want(number, want(FINAL, card=number))
    assert [gone.who for gone in run.run(10)] == [*range(100, 105), *range(20)]


def test_like_wants_go_by_age_whatever_their_apis() -> None:
    run = Simulation(Budget())
    for number in range(20):
        run.want(number, want(TEXT, *(("a", "b") if number % 2 else ("b", "a"))), at=number / 1e3)
    assert [gone.who for gone in run.run(10)] == list(range(20))


def test_text_never_uses_up_the_second_or_the_minute_that_final_states_need() -> None:
    run = Simulation(Budget())
    for number in range(2_000):
        run.want(number, want(TEXT, card=number))
    run.want(9_999, want(FINAL, card="c"), at=0.01)
    for number in range(100):
        run.want(10_000 + number, want(FINAL, card=f"d{number}"), at=30)
    run.run(40)
    went = {gone.who: gone.at for gone in run.gone}
    assert went[9_999] < 0.02, "a part of each second is kept for ends"
    assert max(went[10_000 + number] for number in range(100)) < 33.5


def test_urgent_calls_take_nothing_of_the_even_pace() -> None:
    run = Simulation(Budget())
    for number in range(300):
        run.want(number, want(CREATE))
    run.want(999, want(TEXT), at=10.0)
    run.run(20)
    assert run.gone[-1].who == 999
    assert run.gone[-1].at == pytest.approx(10.0)


def test_one_busy_card_does_not_hold_up_the_others() -> None:
    run = Simulation(Budget())
    for number in range(40):
        run.want(number, want(TEXT, card="busy"))
    run.want(99, want(TEXT, card="quiet"))
    assert 99 in {gone.who for gone in run.run(0.5)}


def test_who_rests_comes_back_by_the_time_it_began_to_wait() -> None:
    run = Simulation(Budget())
    for number in range(30):
        run.want(number, want(TEXT, card="busy"), at=number / 1e3)
    assert [gone.who for gone in run.run(60)] == list(range(30))


def test_who_rested_goes_before_those_who_came_meanwhile() -> None:
    run = Simulation(Budget())
    for number in range(9):
        run.want(number, want(FINAL, card="busy"))
    run.want(100, want(FINAL, card="busy"), at=0.15)
    for number in range(200, 260):
        run.want(number, want(FINAL, card=number), at=0.5)
    order = [gone.who for gone in run.run(3)]
    assert order[:50] == [*range(9), *range(200, 241)], "until the second is full"
    assert order[50] == 100


def test_a_card_whose_calls_all_hang_waits_for_an_answer() -> None:
    budget: Budget[int] = Budget()
    for number in range(12):
        budget.wait(number, want(TEXT, card="slow"), 0.0)
    gone = [budget.next_ready(0.0)[0] for _ in range(9)]
    assert budget.next_ready(50.0) == (None, None)
    assert gone[0] is not None
    budget.answered(gone[0], 50.0)
    nobody, again_at = budget.next_ready(50.0)
    assert nobody is None
    assert again_at == pytest.approx(51.02)
    ready, _ = budget.next_ready(51.03)
    assert ready is not None
    assert ready.waiter == 9


@settings(max_examples=examples(50))
@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(0, 4), st.integers(0, 3), st.floats(0.0, 0.3)),
        min_size=20,
        max_size=150,
    )
)
def test_who_need_not_be_looked_at_again_could_not_have_gone(
    happenings: list[tuple[int, int, int, float]],
) -> None:
    """Neither because of one more who waits alike, nor of an answer that nobody awaits."""
    budget: Budget[int] = Budget(Limits(per_second=4, per_minute=40), SHARES)
    now, under_way = 0.0, []
    for number, (kind, priority, card, pause_s) in enumerate(happenings):
        now += pause_s
        while (found := budget.next_ready(now))[0] is not None:
            under_way.append(found[0])
        if kind < 5:
            wanted = Want(
                apis=TEXT_APIS[kind % 3 :],
                priority=priority,
                resource=f"card {card}",
                resource_per_second=2,
            )
            changes_nothing = budget.has_waiter(wanted)
            budget.wait(number, wanted, now)
        elif under_way:
            changes_nothing = not budget.awaits_answer
            (budget.lost if kind == 7 else budget.answered)(under_way.pop(0), now)
        else:
            continue
        if changes_nothing:
            assert budget.next_ready(now)[0] is None
            # Nor before the time that was named, or ever where none was.
            now = now + 5 if found[1] is None else max(now, found[1] - 1e-6)
            assert budget.next_ready(now)[0] is None


def test_too_many_waiters_are_refused() -> None:
    budget: Budget[int] = Budget()
    assert all(budget.wait(number, want(TEXT), 0.0) for number in range(10_000))
    assert not budget.wait(10_000, want(TEXT), 0.0)


# ── four APIs that carry text ───────────────────────────────────────────────


def test_while_the_first_choice_is_enough_nothing_else_is_used() -> None:
    run = Simulation(Budget(shares=SHARES), again=True)
    for card in range(3):
        # Three cards whose line takes 0.4 s make 7 calls in a second.
        run.want(card, want(TEXT, *TEXT_APIS, card=card))
    run.latency = itertools.repeat((0.2, 0.2))
    run.run(60)
    assert {gone.api for gone in run.gone} == {"content"}


def test_a_hundred_cards_use_every_budget_and_none_stands_still() -> None:
    run = Simulation(Budget(shares=SHARES), again=True)
    for card in range(100):
        run.want(card, want(TEXT, *TEXT_APIS, card=card))
    run.run(180)
    assert run.refused == 0
    last_minute = [gone for gone in run.gone if gone.at >= 120]
    by_api = {api: sum(gone.api == api for gone in last_minute) for api in TEXT_APIS}
    assert all(by_api[api] > 900 for api in TEXT_APIS[:3])
    assert 400 < by_api["card"] <= 500, "half of it is kept for ends and structure"
    fair_s = 100 / (len(last_minute) / 60)
    assert fair_s < 2.0
    times: dict[int, list[float]] = {card: [] for card in range(100)}
    for gone in run.gone:
        times[gone.who].append(gone.at)
    gaps = [later - earlier for of in times.values() for earlier, later in pairwise(of)]
    assert max(gaps) <= 2 * fair_s, "no card starved beyond twice its fair share"


def test_the_first_words_of_a_hundred_turns_go_within_a_second() -> None:
    run = Simulation(Budget(shares=SHARES))
    for card in range(100):
        run.want(card, want(TEXT, *TEXT_APIS, card=card))
    run.run(10)
    assert len(run.gone) == 100
    assert run.gone[-1].at < 1.0


def test_they_do_so_even_after_minutes_of_ticks() -> None:
    run = Simulation(Budget(shares=SHARES))
    for number in range(1_000):
        run.want(-1, want(TICK, "content"), at=number / 10)
    for card in range(100):
        run.want(card, want(TEXT, *TEXT_APIS, card=card), at=60.0)
    words = [gone.at for gone in run.run(70) if gone.who >= 0]
    assert len(words) == 100
    assert words[-1] - 60.0 < 1.5


def test_ticks_leave_a_burst_of_words_their_own_api_too() -> None:
    run = Simulation(Budget(shares=SHARES))
    for number in range(1_800):
        run.want(-1, want(TICK, "content"), at=number / 30)
    for card in range(30):
        run.want(card, want(TEXT, "content", card=card), at=60.0)
    words = [gone.at for gone in run.run(70) if gone.who >= 0]
    assert len(words) == 30
    assert words[-1] - 60.0 < 1.2


def test_text_leaves_the_whole_card_to_structure_and_ends() -> None:
    run = Simulation(Budget(shares=SHARES))
    for number in range(3_500):
        run.want(number, want(TEXT, *TEXT_APIS, card=number), at=number / 60)
    for number in range(5_000, 5_030):
        run.want(number, want(STRUCTURE, "card", card=number), at=50.0)
    for number in range(6_000, 6_050):
        run.want(number, want(FINAL, "card", card=number), at=55.0)
    run.run(60)
    structure = [gone.at for gone in run.gone if 5_000 <= gone.who < 6_000]
    assert len(structure) == 30
    assert structure[-1] < 51.2
    ends = [gone.at for gone in run.gone if gone.who >= 6_000]
    assert len(ends) == 50
    assert ends[-1] < 56.3


def test_forty_turns_that_end_together_find_budget_for_their_ends() -> None:
    """Right after a burst of text that spilled over to the API of the ends."""
    run = Simulation(Budget(shares=SHARES))
    for number in range(300):
        run.want(number, want(TEXT, *TEXT_APIS, card=number), at=20.0)
    for number in range(40):
        run.want(5_000 + number, want(FINAL, "card", card=number), at=20.95)
    run.run(30)
    ends = [gone.at for gone in run.gone if gone.who >= 5_000]
    assert len(ends) == 40
    assert ends[-1] < 21.0
    assert run.refused == 0


def test_how_far_apart_updates_will_be_follows_the_load() -> None:
    budget: Budget[int] = Budget(shares=SHARES)
    assert budget.text_every_s(TEXT_APIS, 0.0) == 0.0
    run = Simulation(budget, again=True)
    for card in range(100):
        run.want(card, want(TEXT, *TEXT_APIS, card=card))
    run.run(60)
    assert 1.5 < budget.text_every_s(TEXT_APIS, 60.0) < 2.2
    assert budget.text_every_s(TEXT_APIS, 66.0) == 0.0, "nobody streams any more"


# ── what the platform's answers teach ───────────────────────────────────────


def test_a_learned_limit_pauses_that_api_alone() -> None:
    budget: Budget[int] = Budget()
    budget.limited("a", FINAL, 5.0, now=0.0)
    run = Simulation(budget)
    run.want(1, want(FINAL, "a"))
    run.want(2, want(FINAL, "b"))
    assert [(gone.at, gone.who) for gone in run.run(20)] == [(0.0, 2), (5.0, 1)]


def test_the_end_never_waits_for_the_pause_of_text() -> None:
    budget: Budget[int] = Budget()
    budget.limited("a", TEXT, 60.0, now=0.0)
    run = Simulation(budget)
    run.want(1, want(TEXT, "a"))
    run.want(2, want(FINAL, "a"))
    run.want(3, want(TEXT, "a", "b"))
    went = {gone.who: gone.at for gone in run.run(70)}
    assert went[2] == 0.0
    assert went[3] < 0.5, "another API takes the text"
    assert went[1] == pytest.approx(60.0)


@pytest.mark.parametrize("asked_s", [0.0, 0.2, 7.0])
def test_a_pause_lasts_as_long_as_the_answer_asks_and_a_moment_at_least(asked_s: float) -> None:
    budget: Budget[int] = Budget()
    budget.limited("a", TEXT, asked_s, now=1.0)
    budget.limited("a", TEXT, 0.0, now=1.1)
    run = Simulation(budget)
    run.want(1, want(TEXT, "a"), at=1.2)
    assert run.run(20)[0].at == pytest.approx(max(1.0 + asked_s, 1.3))


def gone_in_a_second(budget: Budget[int], start: float) -> int:
    run = Simulation(budget, itertools.repeat((0.0, 0.0)))
    for number in range(200):
        run.want(number, want(FINAL), at=start)
    first = len(run.run(start + 0.999))
    run.run(start + 30)
    return first


def test_a_learned_limit_slows_down_for_a_while() -> None:
    def limited(times: int) -> Budget[int]:
        budget: Budget[int] = Budget(Limits(probe=False))
        for _ in range(times):
            # Of the same pause, so it is one lesson, however many calls got it.
            budget.limited("a", FINAL, 1.0, now=0.0)
        return budget

    full = gone_in_a_second(limited(0), 1.0)
    slower = gone_in_a_second(limited(1), 1.0)
    assert full * 0.6 < slower < full
    assert gone_in_a_second(limited(10), 1.0) == slower
    assert gone_in_a_second(limited(1), 130.0) == full


def busy(budget: Budget[int], minutes: int, start: float = 0.0) -> float:
    """Let calls wait for the API in each of so many minutes; return the time after them."""
    for minute in range(minutes):
        at = start + 60 * minute
        for number in range(60):
            budget.wait(number, want(FINAL), at)
        while True:
            ready, again_at = budget.next_ready(at)
            if ready is not None:
                budget.answered(ready, at)
            elif again_at is None:
                break
            else:
                at = again_at
    return start + 60 * minutes


def test_ten_quiet_minutes_of_waiting_raise_the_pace_by_a_tenth() -> None:
    budget: Budget[int] = Budget()
    after = busy(budget, 9)
    assert gone_in_a_second(budget, after) == 50
    budget = Budget()
    after = busy(budget, 12)
    assert gone_in_a_second(budget, after) == 55
    after = busy(budget, 11, after + 60)
    assert gone_in_a_second(budget, after) == 60


def test_the_pace_falls_back_at_the_first_refusal_and_the_next_try_is_later() -> None:
    budget: Budget[int] = Budget()
    after = busy(budget, 12)
    budget.limited("a", FINAL, 1.0, now=after)
    assert gone_in_a_second(budget, after + 60) == 50, "what was proven is not lost"
    after = busy(budget, 13, after + 120)
    assert gone_in_a_second(budget, after) == 50
    after = busy(budget, 12, after + 60)
    assert gone_in_a_second(budget, after) == 55


def test_quiet_minutes_without_load_prove_nothing() -> None:
    budget: Budget[int] = Budget()
    assert gone_in_a_second(budget, 0.0) == 50
    assert gone_in_a_second(budget, 360_000.0) == 50


def test_an_app_that_does_not_probe_keeps_its_pace() -> None:
    budget: Budget[int] = Budget(Limits(probe=False))
    after = busy(budget, 40)
    assert gone_in_a_second(budget, after) == 50


def test_a_card_too_often_called_pauses_alone() -> None:
    budget: Budget[int] = Budget()
    budget.limited_resource("card 1", FINAL, 2.0, now=0.0)
    run = Simulation(budget)
    run.want(1, want(FINAL, card=1))
    run.want(2, want(TEXT, card=2))
    assert [(gone.at, gone.who) for gone in run.run(20)] == [(0.0, 2), (2.0, 1)]


def test_the_end_of_a_card_does_not_wait_for_what_its_text_was_refused() -> None:
    budget: Budget[int] = Budget()
    budget.limited_resource("card 1", TEXT, 60.0, now=0.0)
    budget.limited_resource("card 1", STRUCTURE, 5.0, now=0.0)
    run = Simulation(budget)
    run.want(1, want(TEXT, card=1))
    run.want(2, want(STRUCTURE, card=1))
    run.want(3, want(FINAL, card=1))
    assert [(gone.at, gone.who) for gone in run.run(80)] == [(0.0, 3), (5.0, 2), (60.0, 1)]


def test_idle_cards_are_forgotten_and_paused_ones_are_not() -> None:
    budget: Budget[int] = Budget()
    budget.limited_resource("card 1", FINAL, 100.0, now=0.0)
    budget.forget_idle(61.0)
    run = Simulation(budget)
    run.want(1, want(FINAL, card=1), at=61.0)
    assert run.run(200)[0].at == pytest.approx(100.0)
    budget.forget_idle(150.0)  # called within the minute before
    budget.forget_idle(300.0)
    run.want(2, want(FINAL, card=1), at=300.0)
    assert run.run(400)[-1].at == pytest.approx(300.0)


# ── refunds, and a budget that somebody else has used ───────────────────────


@pytest.mark.parametrize("priority", [FINAL, STRUCTURE, TEXT, TICK])
def test_refunds_give_everything_back(priority: int) -> None:
    """Of window, pace and card: a thousand grants that were not used cost nothing."""
    budget: Budget[int] = Budget()
    for number in range(1_000):
        budget.wait(number, want(priority, card=1), 0.0)
        ready, _ = budget.next_ready(0.0)
        assert ready is not None
        budget.refund(ready, 0.0)
    assert budget.used(0.0)["a"].in_minute == 0


def test_after_a_takeover_calls_keep_to_sixteen_a_second_for_a_minute() -> None:
    budget: Budget[int] = Budget(used_up_at=0.0)
    run = Simulation(budget)
    for number in range(3_000):
        run.want(number, want(TEXT if number < 1_500 else FINAL), at=0.5)
    run.run(60)
    times = [gone.at for gone in run.gone]
    for second in range(1, 58):
        assert sum(second <= at < second + 1 for at in times) <= 18
    assert 900 < len(times) <= 1_000
    assert all(gone.who >= 1_500 for gone in run.gone), "ends first"


def test_used_names_what_counts_and_the_limits() -> None:
    budget: Budget[int] = Budget()
    run = Simulation(budget)
    for number in range(30):
        run.want(number, want(FINAL), at=0.0 if number < 20 else 30.0)
    run.run(30.5)
    used = budget.used(30.5)["a"]
    assert (used.in_second, used.in_minute) == (10, 30)
    assert (used.second_max, used.minute_max) == (50, 1_000)


def test_nothing_is_kept_of_a_card_that_was_not_called_for_a_minute() -> None:
    budget: Budget[int] = Budget()
    run = Simulation(budget)
    run.want(1, want(TEXT, card=1))
    run.want(2, want(TEXT, card=2), at=30.0)
    run.run(40)
    budget.forget_idle(62.0)
    assert set(budget._resources) == {"card 2"}
