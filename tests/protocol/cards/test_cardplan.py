"""From shown to wanted: the fewest calls, a rising sequence, and always an end."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from protocol.cards.card import Style, View, view_running
from protocol.cards.cardplan import (
    REFUSALS_MAX,
    CardPlan,
    Kind,
    Lost,
    Shrink,
    Step,
    Wait,
    repair_sequence,
)
from protocol.cards.turn import Turn
from protocol.ids import SessionId, TurnId
from protocol.platform.outcomes import (
    Busy,
    Gone,
    NoAnswer,
    Outcome,
    RateLimited,
    Rejected,
    SequenceRefused,
    StreamingClosed,
    TooLarge,
)
from protocol.wire.messages import Delta, Plan, PlanEntry, TurnEnd

STYLE = Style(session_id=SessionId("s"), turn_id=TurnId("t"))


def refusal(kind: type[Rejected], **more: Any) -> Rejected:
    return kind(code=1, message="no", **more)


def view(turn: Turn, now: float) -> View:
    return view_running(turn, STYLE, now)


def opened() -> tuple[Turn, CardPlan]:
    turn = Turn(0.0)
    return turn, CardPlan(view(turn, 0.0), 0.0)


def settle(plan: CardPlan, wanted: View, now: float) -> list[Step]:
    """Let the platform accept everything; return the calls it took."""
    calls = []
    while (step := plan.next(wanted, now)) is not None:
        plan.accepted(step, now)
        calls.append(step)
        assert len(calls) < 10
    return calls


def test_nothing_is_called_where_nothing_changed() -> None:
    turn, plan = opened()
    assert plan.next(view(turn, 0.0), 0.0) is None


def test_a_tick_touches_the_footer_alone() -> None:
    turn, plan = opened()
    (tick,) = settle(plan, view(turn, 1.0), 1.0)
    assert (tick.kind, tick.call, tick.element_id) == (Kind.TICK, "content", "footer")
    assert tick.content == "⏳ Processing... 1.0s"


def test_text_goes_by_its_element_and_before_the_tick() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="hello"), 1.0)
    text, tick = settle(plan, view(turn, 1.0), 1.0)
    assert (text.kind, text.element_id, text.content) == (Kind.TEXT, "answer", "hello")
    assert tick.kind is Kind.TICK
    assert (text.sequence, tick.sequence) == (1, 2)


def test_structure_takes_the_whole_card_and_carries_the_text() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="hello"), 1.0)
    turn.apply(Plan(turn_id="t", entries=[PlanEntry(content="x", status="pending")]), 1.0)
    (whole,) = settle(plan, view(turn, 1.0), 1.0)
    assert (whole.kind, whole.call) == (Kind.STRUCTURE, "update")
    assert "hello" in whole.content


def test_the_end_is_one_whole_card_and_then_nothing() -> None:
    turn, plan = opened()
    turn.apply(TurnEnd(turn_id="t", status="complete", text="done"), 2.0)
    (final,) = settle(plan, view(turn, 2.0), 2.0)
    assert (final.kind, final.call) == (Kind.FINAL, "update")
    assert plan.settled
    assert plan.next(view(turn, 99.0), 99.0) is None


def test_streaming_is_opened_again_before_ten_minutes_are_over() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 539.0)
    assert settle(plan, view(turn, 539.0), 539.0)[0].kind is Kind.TEXT
    turn.apply(Delta(turn_id="t", text="y"), 541.0)
    reopen, text, _tick = settle(plan, view(turn, 541.0), 541.0)
    assert (reopen.call, reopen.content) == ("settings", '{"config":{"streaming_mode":true}}')
    assert text.kind is Kind.TEXT
    assert settle(plan, view(turn, 1_000.0), 1_000.0)[0].kind is Kind.TICK


def test_streaming_that_closed_is_opened_once_and_then_done_without() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 1.0)
    wanted = view(turn, 1.0)
    first = plan.next(wanted, 1.0)
    assert first is not None
    assert plan.failed(first, refusal(StreamingClosed)) == Wait(seconds=0)
    reopen = plan.next(wanted, 1.0)
    assert reopen is not None
    assert reopen.kind is Kind.REOPEN
    plan.accepted(reopen, 1.0)
    again = plan.next(wanted, 1.0)
    assert again is not None
    assert again.call == "content"
    assert plan.failed(again, refusal(StreamingClosed)) == Wait(seconds=0)
    whole = plan.next(wanted, 1.0)
    assert whole is not None
    assert whole.call == "update"


def test_a_refused_sequence_is_jumped_over() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 1.0)
    first = plan.next(view(turn, 1.0), 1.0)
    assert first is not None
    assert isinstance(plan.failed(first, refusal(SequenceRefused)), Wait)
    second = plan.next(view(turn, 1.0), 1.0)
    assert second is not None
    assert second.sequence > first.sequence + 100


def test_an_update_nobody_answered_is_sent_whole_again() -> None:
    turn, plan = opened()
    turn.apply(TurnEnd(turn_id="t", status="complete", text="x"), 1.0)
    wanted = view(turn, 1.0)
    first = plan.next(wanted, 1.0)
    assert first is not None
    assert isinstance(plan.failed(first, NoAnswer(reason="timeout")), Wait)
    second = plan.next(wanted, 1.0)
    assert second is not None
    assert (second.kind, second.sequence) == (Kind.FINAL, first.sequence + 1)


def test_a_rate_limit_waits_as_long_as_the_platform_says() -> None:
    turn, plan = opened()
    step = plan.next(view(turn, 1.0), 1.0)
    assert step is not None
    assert plan.failed(step, refusal(RateLimited, retry_after_s=7.0)) == Wait(seconds=7.0)


def test_what_is_gone_is_lost() -> None:
    turn, plan = opened()
    step = plan.next(view(turn, 1.0), 1.0)
    assert step is not None
    assert isinstance(plan.failed(step, refusal(Gone)), Lost)


def test_a_card_too_large_is_to_hold_less() -> None:
    turn, plan = opened()
    step = plan.next(view(turn, 1.0), 1.0)
    assert step is not None
    assert isinstance(plan.failed(step, refusal(TooLarge)), Shrink)


def test_who_is_refused_for_no_known_reason_is_left_alone_until_the_end() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 1.0)
    for _ in range(REFUSALS_MAX):
        step = plan.next(view(turn, 1.0), 1.0)
        assert step is not None
        assert isinstance(plan.failed(step, refusal(Rejected)), Wait)
    assert plan.next(view(turn, 2.0), 2.0) is None
    turn.apply(TurnEnd(turn_id="t", status="complete"), 3.0)
    for _ in range(2 * REFUSALS_MAX):
        step = plan.next(view(turn, 3.0), 3.0)
        assert step is not None
        assert step.kind is Kind.FINAL
        assert isinstance(plan.failed(step, refusal(Rejected)), Wait)


OUTCOMES: st.SearchStrategy[Outcome | None] = st.sampled_from(
    [
        None,
        NoAnswer(reason="x"),
        refusal(RateLimited, retry_after_s=1.0),
        refusal(Busy),
        refusal(StreamingClosed),
        refusal(SequenceRefused),
        refusal(Rejected),
    ]
)


@given(st.lists(st.tuples(st.sampled_from(["text", "plan", "tick", "end"]), OUTCOMES), max_size=40))
def test_whatever_fails_the_card_ends_final_and_sequences_rise(
    story: list[tuple[str, Outcome | None]],
) -> None:
    turn, plan = opened()
    now, last = 0.0, 0
    for act, outcome in [*story, ("end", None)]:
        now += 1
        match act:
            case "text":
                turn.apply(Delta(turn_id="t", text="x"), now)
            case "plan":
                turn.apply(Plan(turn_id="t", entries=[]), now)
            case "end":
                turn.apply(TurnEnd(turn_id="t", status="complete"), now)
        step = plan.next(view(turn, now), now)
        if step is None:
            continue
        assert step.sequence > last
        last = step.sequence
        if outcome is None:
            plan.accepted(step, now)
        elif isinstance(plan.failed(step, outcome), Lost):
            return
        elif isinstance(outcome, RateLimited | Busy | Rejected) and not isinstance(
            outcome, SequenceRefused | StreamingClosed
        ):
            last -= 1  # not applied: the same number may be used again
    settle(plan, view(turn, now), now)
    assert plan.settled


def test_a_repair_uses_a_sequence_no_running_card_has_reached() -> None:
    assert repair_sequence(1_000, 61_000) == 1_060_000
    assert repair_sequence(61_000, 1_000) == 1_000_000
    assert repair_sequence(0, 14 * 24 * 3_600 * 1_000) < 2**31
