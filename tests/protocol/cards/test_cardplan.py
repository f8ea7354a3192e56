"""From shown to wanted: the fewest calls, a rising sequence, and always an end."""

from __future__ import annotations

import json
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from protocol.cards.card import Style, View, view_running
from protocol.cards.cardplan import (
    REFUSALS_MAX,
    CallName,
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
    MissingScope,
    NoAnswer,
    Outcome,
    RateLimited,
    Rejected,
    SequenceRefused,
    StreamingClosed,
    TooLarge,
)
from protocol.wire.messages import Delta, Plan, PlanEntry, ToolEvent, TurnEnd

STYLE = Style(session_id=SessionId("s"), turn_id=TurnId("t"))


def refusal(kind: type[Rejected], **more: Any) -> Rejected:
    return kind(code=1, message="no", **more)


def view(turn: Turn, now: float) -> View:
    return view_running(turn, STYLE, now)


def opened() -> tuple[Turn, CardPlan]:
    turn = Turn(0.0)
    return turn, CardPlan(view(turn, 0.0), 0.0)


def changed_by(step: Step) -> list[tuple[str, dict[str, Any]]]:
    """The elements that a batch changes, and what of them."""
    actions = json.loads(step.content)
    assert {action["action"] for action in actions} == {"partial_update_element"}
    return [
        (action["params"]["element_id"], action["params"]["partial_element"]) for action in actions
    ]


def settle(plan: CardPlan, wanted: View, now: float) -> list[Step]:
    """Let the platform accept everything; return the calls it took."""
    calls = []
    while (step := plan.next(wanted, now)) is not None:
        plan.begin(step, now)
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
    assert (tick.kind, tick.calls) == (Kind.TICK, ("batch", "patch"))
    ((element_id, changed),) = changed_by(tick)
    assert element_id == "footer"
    assert changed["i18n_content"] == {
        "en_us": "⏳ Processing... 1.0s",
        "zh_cn": "⏳ 处理中... 1.0s",
    }


def test_text_goes_by_its_element() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="hello"), 0.5)
    (text,) = settle(plan, view(turn, 0.9), 0.9)
    assert (text.kind, text.call, text.element_id) == (Kind.TEXT, "content", "answer")
    assert (text.content, text.sequence) == ("hello", 1)
    assert text.calls == ("content", "batch", "patch", "update")


def test_a_tick_that_is_due_goes_with_the_text_in_one_call() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="hello"), 1.0)
    (both,) = settle(plan, view(turn, 1.0), 1.0)
    assert (both.kind, both.call) == (Kind.TEXT, "batch")
    assert [element_id for element_id, _ in changed_by(both)] == ["answer", "footer"]
    assert plan.next(view(turn, 1.9), 1.9) is None, "the next one is due a second later"


def test_text_that_was_granted_another_call_goes_by_that_one() -> None:
    for via, goes in (("patch", "patch"), ("update", "update"), ("settings", "content")):
        turn, plan = opened()
        turn.apply(Delta(turn_id="t", text="hello"), 0.5)
        step = plan.next(view(turn, 0.9), 0.9, via=cast("CallName", via))
        assert step is not None
        assert step.call == goes
        plan.begin(step, 0.9)
        plan.accepted(step, 0.9)
        assert plan.next(view(turn, 0.9), 0.9) is None


def test_a_line_more_in_a_panel_is_no_whole_card() -> None:
    turn, plan = opened()
    turn.apply(ToolEvent(turn_id="t", call_id="1", name="Read", status="running"), 0.5)
    (first,) = settle(plan, view(turn, 0.5), 0.5)
    assert first.call == "update", "the panel is new"
    turn.apply(ToolEvent(turn_id="t", call_id="2", name="Grep", status="running"), 0.6)
    turn.apply(Delta(turn_id="t", text="so far"), 0.6)
    (second,) = settle(plan, view(turn, 0.6), 0.6)
    assert (second.kind, second.call) == (Kind.STRUCTURE, "batch")
    changed = dict(changed_by(second))
    assert changed.keys() == {"tools_panel", "tools", "answer"}
    assert "Grep" in changed["tools"]["content"]


def test_a_call_that_was_cut_off_has_used_its_sequence_and_may_have_been_made() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 0.5)
    first = plan.next(view(turn, 0.5), 0.5)
    assert first is not None
    plan.begin(first, 0.5)
    assert plan.read == ("", False)
    turn.stop(0.6)
    final = plan.next(view(turn, 0.6), 0.6)
    assert final is not None
    assert (final.kind, final.sequence) == (Kind.FINAL, first.sequence + 1)


def test_a_whole_card_that_was_cut_off_is_sent_again() -> None:
    turn, plan = opened()
    turn.apply(TurnEnd(turn_id="t", status="complete", text="x"), 1.0)
    first = plan.next(view(turn, 1.0), 1.0)
    assert first is not None
    plan.begin(first, 1.0)
    second = plan.next(view(turn, 1.0), 1.0)
    assert second is not None
    assert (second.kind, second.sequence) == (Kind.FINAL, 2)


def test_text_that_its_endpoint_refuses_goes_by_another_at_once() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 0.5)
    first = plan.next(view(turn, 0.5), 0.5)
    assert first is not None
    plan.begin(first, 0.5)
    limited = RateLimited(code=99991400, message="", retry_after_s=6.0)
    assert plan.failed(first, limited, 0.5) == Wait(seconds=0)
    second = plan.next(view(turn, 0.6), 0.6)
    assert second is not None
    assert second.calls == ("batch", "patch", "update")
    assert plan.next(view(turn, 6.4), 6.4, tick_s=60) == plan.next(
        view(turn, 6.4), 6.4, tick_s=60, via="batch"
    )
    later = plan.next(view(turn, 6.6), 6.6, tick_s=60)
    assert later is not None
    assert later.call == "content", "the six seconds are over"


def unanswered(plan: CardPlan, step: Step, now: float) -> tuple[float, Wait]:
    """Let a call hang as long as it may; return until when, and what then."""
    until = now + plan.answer_within_s(step, now)
    plan.begin(step, now)
    verdict = plan.failed(step, NoAnswer(reason="no answer"), until)
    assert isinstance(verdict, Wait)
    return until, verdict


def test_text_whose_call_is_lost_goes_by_another_at_once() -> None:
    """One endpoint that loses its calls after a second had held up the text up to 10 s."""
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 0.5)
    now, calls = 0.5, []
    while (step := plan.next(view(turn, now), now)) is not None:
        calls.append(step.call)
        plan.begin(step, now)
        if step.call == "content":
            now += 1.0
            assert plan.failed(step, NoAnswer(reason="hung up"), now) == Wait(seconds=0)
        else:
            plan.accepted(step, now)
    assert (now, calls) == (1.5, ["content", "batch"])
    turn.apply(Delta(turn_id="t", text="y"), 2.0)
    step = plan.next(view(turn, 2.0), 2.0)
    assert step is not None
    assert step.call != "content", "it rests for four times as long"


def test_text_whose_call_hangs_goes_by_another_soon() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 0.5)
    first = plan.next(view(turn, 0.5), 0.5)
    assert first is not None
    assert first.call == "content"
    now, verdict = unanswered(plan, first, 0.5)
    assert (now, verdict) == (3.0, Wait(seconds=0))
    second = plan.next(view(turn, now), now)
    assert second is not None
    assert second.sequence > first.sequence
    assert second.calls == ("batch", "patch", "update")
    plan.begin(second, now)
    plan.accepted(second, now)
    turn.apply(Delta(turn_id="t", text="y"), 12.0)
    still = plan.next(view(turn, 12.9), 12.9, tick_s=60)
    assert still is not None
    assert still.call == "batch", "what has hung is left alone four times as long"
    later = plan.next(view(turn, 13.1), 13.1, tick_s=60)
    assert later is not None
    assert later.call == "content"


def test_where_every_call_hangs_each_gets_longer() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 0.5)
    now, waits = 0.5, []
    for _ in range(7):
        step = plan.next(view(turn, now), now, tick_s=600)
        assert step is not None
        waits.append((step.call, plan.answer_within_s(step, now)))
        now, verdict = unanswered(plan, step, now)
        now += verdict.seconds
    calls = [call for call, _ in waits]
    assert calls[:4] == ["content", "batch", "patch", "update"]
    assert [seconds for _, seconds in waits[:3]] == [2.5, 2.5, 2.5]
    assert max(seconds for _, seconds in waits) > 2.5
    assert all(seconds <= 10.0 for _, seconds in waits)


def test_a_slow_platform_is_waited_for() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 0.5)
    step = plan.next(view(turn, 0.5), 0.5)
    assert step is not None
    plan.begin(step, 0.5)
    plan.accepted(step, 2.5)
    assert plan.answer_within_s(step, 3.0) == 6.0, "three times what the last one took"


def test_an_end_that_nobody_answers_is_sent_again_before_it_is_given_up() -> None:
    turn, plan = opened()
    turn.apply(TurnEnd(turn_id="t", status="complete", text="x"), 1.0)
    now, sequences, waits = 1.0, [], []
    for _ in range(4):
        step = plan.next(view(turn, 1.0), now)
        assert step is not None
        assert step.kind is Kind.FINAL
        sequences.append(step.sequence)
        waits.append(plan.answer_within_s(step, now))
        now, _ = unanswered(plan, step, now)
    assert waits == [2.5, 5.0, 10.0, 10.0]
    assert sequences == sorted(set(sequences))


def test_streaming_whose_opening_hangs_holds_up_no_text() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 545.0)
    reopen = plan.next(view(turn, 545.0), 545.0, tick_s=600)
    assert reopen is not None
    assert reopen.kind is Kind.REOPEN
    now, _ = unanswered(plan, reopen, 545.0)
    step = plan.next(view(turn, now), now, tick_s=600)
    assert step is not None
    assert step.kind is Kind.TEXT


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
    assert plan.next(view(turn, 99.0), 99.0) is None


def test_streaming_is_opened_again_before_ten_minutes_are_over() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 539.0)
    assert settle(plan, view(turn, 539.0), 539.0)[0].kind is Kind.TEXT
    turn.apply(Delta(turn_id="t", text="y"), 541.0)
    reopen, text = settle(plan, view(turn, 541.0), 541.0)
    assert (reopen.call, reopen.content) == ("settings", '{"config":{"streaming_mode":true}}')
    assert text.kind is Kind.TEXT
    assert settle(plan, view(turn, 1_000.0), 1_000.0)[0].kind is Kind.TICK


def test_streaming_that_closed_is_opened_once_and_then_done_without() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 0.9)
    wanted = view(turn, 0.9)
    first = plan.next(wanted, 0.9)
    assert first is not None
    assert plan.failed(first, refusal(StreamingClosed), 0.9) == Wait(seconds=0)
    reopen = plan.next(wanted, 0.9)
    assert reopen is not None
    assert reopen.kind is Kind.REOPEN
    plan.accepted(reopen, 0.9)
    again = plan.next(wanted, 0.9)
    assert again is not None
    assert again.call == "content"
    plan.begin(again, 0.9)
    assert plan.failed(again, refusal(StreamingClosed), 0.9) == Wait(seconds=0)
    other = plan.next(wanted, 0.9)
    assert other is not None
    assert other.calls == ("batch", "patch", "update")


def test_a_refused_sequence_is_jumped_over() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 1.0)
    first = plan.next(view(turn, 1.0), 1.0)
    assert first is not None
    assert isinstance(plan.failed(first, refusal(SequenceRefused), 1.0), Wait)
    second = plan.next(view(turn, 1.0), 1.0)
    assert second is not None
    assert second.sequence > first.sequence + 100


def test_an_update_nobody_answered_is_sent_whole_again() -> None:
    turn, plan = opened()
    turn.apply(TurnEnd(turn_id="t", status="complete", text="x"), 1.0)
    wanted = view(turn, 1.0)
    first = plan.next(wanted, 1.0)
    assert first is not None
    plan.begin(first, 1.0)
    assert isinstance(plan.failed(first, NoAnswer(reason="timeout"), 1.0), Wait)
    second = plan.next(wanted, 1.0)
    assert second is not None
    assert (second.kind, second.sequence) == (Kind.FINAL, first.sequence + 1)


def test_a_missing_scope_loses_the_card_for_as_long_as_it_is_missing() -> None:
    turn, plan = opened()
    step = plan.next(view(turn, 1.0), 1.0)
    assert step is not None
    missing = refusal(MissingScope, scopes=("cardkit:card:write",), grant_url=None)
    lost = plan.failed(step, missing, 1.0)
    assert isinstance(lost, Lost)
    assert (lost.gone, lost.missing) == (False, missing), "its scope may come back"
    gone = plan.failed(step, refusal(Gone), 1.0)
    assert isinstance(gone, Lost)
    assert (gone.gone, gone.missing) == (True, None)


def test_each_failure_in_a_row_waits_twice_as_long_as_the_one_before() -> None:
    turn, plan = opened()
    turn.apply(TurnEnd(turn_id="t", status="complete", text="x"), 1.0)
    waits = []
    for _ in range(12):
        step = plan.next(view(turn, 1.0), 1.0)
        assert step is not None
        plan.begin(step, 1.0)
        wait = plan.failed(step, NoAnswer(reason="timeout"), 1.0)
        assert isinstance(wait, Wait)
        waits.append(wait.seconds)
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, *[10.0] * 6]


def test_a_rate_limit_waits_as_long_as_the_platform_asks() -> None:
    turn, plan = opened()
    step = plan.next(view(turn, 1.0), 1.0)
    assert step is not None
    assert plan.failed(step, refusal(RateLimited, retry_after_s=7.0), 1.0) == Wait(seconds=7.0)


def test_what_is_gone_is_lost() -> None:
    turn, plan = opened()
    step = plan.next(view(turn, 1.0), 1.0)
    assert step is not None
    assert isinstance(plan.failed(step, refusal(Gone), 1.0), Lost)


def test_a_card_too_large_is_to_hold_less() -> None:
    turn, plan = opened()
    step = plan.next(view(turn, 1.0), 1.0)
    assert step is not None
    assert isinstance(plan.failed(step, refusal(TooLarge), 1.0), Shrink)


def test_who_is_refused_for_no_known_reason_is_left_alone_until_the_end() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 1.0)
    for _ in range(REFUSALS_MAX):
        step = plan.next(view(turn, 1.0), 1.0)
        assert step is not None
        assert isinstance(plan.failed(step, refusal(Rejected), 1.0), Wait)
    assert plan.next(view(turn, 2.0), 2.0) is None
    turn.apply(TurnEnd(turn_id="t", status="complete"), 3.0)
    for _ in range(2 * REFUSALS_MAX):
        step = plan.next(view(turn, 3.0), 3.0)
        assert step is not None
        assert step.kind is Kind.FINAL
        assert isinstance(plan.failed(step, refusal(Rejected), 1.0), Wait)


def refuse(plan: CardPlan, turn: Turn, times: int) -> None:
    for _ in range(times):
        step = plan.next(view(turn, 0.5), 0.5)
        assert step is not None
        plan.begin(step, 0.5)
        plan.failed(step, refusal(Rejected), 0.5)


def test_refusals_count_only_in_a_row() -> None:
    turn, plan = opened()
    for _ in range(3):
        turn.apply(Delta(turn_id="t", text="x"), 0.5)
        refuse(plan, turn, REFUSALS_MAX - 1)
        settle(plan, view(turn, 0.5), 0.5)
    assert plan.read == ("xxx", True)


def test_streaming_may_close_again_later_and_is_opened_again() -> None:
    turn, plan = opened()
    for number in range(3):
        turn.apply(Delta(turn_id="t", text="x"), 0.5)
        step = plan.next(view(turn, 0.5), 0.5)
        assert step is not None
        plan.begin(step, 0.5)
        plan.failed(step, refusal(StreamingClosed), 0.5)
        calls = [one.call for one in settle(plan, view(turn, 0.5), 0.5)]
        assert calls == ["settings", "content"], f"the {number}th time"


def test_without_the_right_to_reopen_text_goes_without_the_typewriter() -> None:
    turn, plan = opened()
    turn.apply(Delta(turn_id="t", text="x"), 0.5)
    first = plan.next(view(turn, 0.5), 0.5)
    assert first is not None
    plan.failed(first, refusal(StreamingClosed), 0.5)
    reopen = plan.next(view(turn, 0.5), 0.5)
    assert reopen is not None
    assert plan.failed(reopen, refusal(Rejected), 0.5) == Wait(seconds=0)
    (text,) = settle(plan, view(turn, 0.5), 0.5)
    assert text.call == "batch"
    turn.apply(Delta(turn_id="t", text="y"), 600.0)
    (later,) = settle(plan, view(turn, 600.0), 600.0)
    assert later.call == "batch", "and it is not opened again by the clock"


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
        plan.begin(step, now)
        if outcome is None:
            plan.accepted(step, now)
        elif isinstance(plan.failed(step, outcome, now), Lost):
            return
    settle(plan, view(turn, now), now)
    assert plan.read == (turn.answer.current, True)


def test_a_repair_is_a_band_above_all_that_earlier_terms_have_used() -> None:
    assert repair_sequence(3, 4) == 2**24 + 1
    assert repair_sequence(3, 6) == 3 * 2**24 + 1
    assert repair_sequence(None, 6) == 127 * 2**24 + 1, "from before terms"
    assert repair_sequence(7, 6) == 127 * 2**24 + 1, "a restored journal"
    assert repair_sequence(1, 128) == 127 * 2**24 + 1
    assert repair_sequence(1, 129) is None
    within = repair_sequence(6, 6)
    assert within is not None
    assert 2**20 < within < 2**24, "above what its actor has used, and in its band"


def test_no_jump_leaves_the_band_of_its_term() -> None:
    turn, plan = opened()
    for number in range(20_000):
        turn.apply(Plan(turn_id="t", entries=[]), number)
        step = plan.next(view(turn, number), number)
        if step is None:
            continue
        plan.begin(step, number)
        plan.failed(step, refusal(SequenceRefused), number)
        assert step.sequence < 2**24
