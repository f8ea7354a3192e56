"""What people can read on a card, as its plan knows it, against what the platform shows."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from protocol.cards.card import ANSWER, Style, View, view_running, view_sealed
from protocol.cards.cardplan import CallName, CardPlan, Lost, Shrink, Step
from protocol.cards.turn import Turn
from protocol.ids import SessionId, TurnId
from protocol.platform.outcomes import (
    Busy,
    NoAnswer,
    Outcome,
    RateLimited,
    Rejected,
    SequenceRefused,
    StreamingClosed,
    TokenRefused,
)
from protocol.wire.messages import Delta, Plan, PlanEntry

STYLE = Style(session_id=SessionId("s"), turn_id=TurnId("t"))
DONE, LOST = NoAnswer(reason="the platform did it"), NoAnswer(reason="it did not")
CUT, CUT_DONE = "cut off", "cut off when the platform had done it"
CLOSED = StreamingClosed(code=1, message="no")
RESULTS: st.SearchStrategy[Outcome | str | None] = st.sampled_from(
    [
        None,
        DONE,
        LOST,
        CUT,
        CUT_DONE,
        RateLimited(code=1, message="no", retry_after_s=1.0),
        Busy(code=1, message="no"),
        CLOSED,
        SequenceRefused(code=1, message="no"),
        TokenRefused(code=1, message="no"),
        Rejected(code=1, message="no"),
    ]
)
ACTS = st.sampled_from(["text", "plan", "tick", "text", "tick", "cut", "empty"])


def wanted(turn: Turn, cut_to: str | None, now: float) -> View:
    return view_running(turn, STYLE, now) if cut_to is None else view_sealed(turn, STYLE, cut_to)


def answer_after(answer: str, step: Step) -> str:
    """What the platform shows as the answer when it has done *step*."""
    match step.call:
        case "update":
            return step.view.answer
        case "content":
            return step.content
        case "patch" if step.element_id == ANSWER:
            return str(json.loads(step.content)["content"])
        case "batch":
            for params in (action["params"] for action in json.loads(step.content)):
                if params["element_id"] == ANSWER:
                    answer = params["partial_element"]["content"]
    return answer


@example([("text", DONE, "content"), ("tick", CLOSED, "content"), ("tick", None, "content")])
@example([("text", None, "content"), ("empty", DONE, "content")])
@given(
    st.lists(
        st.tuples(ACTS, RESULTS, st.sampled_from(["content", "batch", "patch", "update"])),
        max_size=30,
    )
)
def test_the_plan_knows_what_can_be_read_or_that_it_does_not_know(
    story: list[tuple[str, Outcome | str | None, CallName]],
) -> None:
    turn, now, shown = Turn(0.0), 0.0, ""
    cut_to: str | None = None
    plan = CardPlan(view_running(turn, STYLE, now), now)
    for act, result, via in story:
        now += 0.4
        if act == "text":
            turn.apply(Delta(turn_id="t", text="x"), now)
        elif act == "plan":
            entry = PlanEntry(content=str(now), status="pending")
            turn.apply(Plan(turn_id="t", entries=[entry]), now)
        elif act != "tick":
            cut_to = shown if act == "cut" and cut_to is None else ""
        step = plan.next(wanted(turn, cut_to, now), now, via=via)
        if step is None:
            continue
        plan.begin(step, now)
        if result in (None, DONE, CUT_DONE):
            shown = answer_after(shown, step)
        if result is None:
            plan.accepted(step, now)
        elif not isinstance(result, str):
            assert not isinstance(plan.failed(step, result, now), Lost | Shrink)
        read, sure = plan.read
        assert shown.startswith(read)
        assert read == shown or not sure


def test_a_card_that_was_opened_with_its_last_text_shows_it() -> None:
    turn = Turn(0.0)
    plan = CardPlan(view_sealed(turn, STYLE, "all of it"), 0.0)
    assert plan.read == ("all of it", True)
