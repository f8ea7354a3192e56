"""An answer has an end, and shows that it was cut."""

from __future__ import annotations

from protocol.cards.turn import ANSWER_CHARACTERS_MAX, Turn, TurnState
from protocol.strings import on_card
from protocol.wire.messages import Delta, ToolEvent, TurnEnd, Usage


def test_what_an_agent_writes_without_end_is_left_out_and_the_end_shows_it() -> None:
    turn = Turn(0.0)
    line = "a" * 9_999 + "\n"
    for _ in range(ANSWER_CHARACTERS_MAX // len(line) + 50):
        turn.apply(Delta(turn_id="t", text=line), 1.0)
    turn.apply(TurnEnd(turn_id="t", status="complete", text="the tail"), 2.0)
    kept = sum(map(len, turn.answer.sealed)) + len(turn.answer.current)
    assert ANSWER_CHARACTERS_MAX - len(line) <= kept <= ANSWER_CHARACTERS_MAX + len(line)
    assert turn.note == on_card.ANSWER_CUT.format(count="2,000,000")
    assert turn.state is TurnState.COMPLETE


def test_an_answer_of_ordinary_length_has_no_such_note() -> None:
    turn = Turn(0.0)
    turn.apply(Delta(turn_id="t", text="Hello"), 1.0)
    turn.append_tail(" and", 1.0)
    turn.apply(TurnEnd(turn_id="t", status="complete"), 2.0)
    turn.append_tail("late", 3.0)
    assert (turn.answer.complete + turn.answer.current).startswith("Hello")
    assert turn.note is None


def test_a_turn_thinks_until_the_first_text_of_its_answer_and_may_end_from_there() -> None:
    turn = Turn(0.0)
    states = []
    for delta in (
        Delta(turn_id="t", text="hm", channel="reasoning"),
        Delta(turn_id="t", text="\n"),
        Delta(turn_id="t", text="Hello"),
    ):
        turn.apply(delta, 1.0)
        states.append(turn.state)
    turn.stop(2.0)
    turn.apply(TurnEnd(turn_id="t", status="complete"), 3.0)
    assert [*states, turn.state] == ["thinking", "thinking", "streaming", "aborted"]
    quiet = Turn(0.0)
    quiet.apply(TurnEnd(turn_id="t", status="complete"), 1.0)
    assert quiet.state is TurnState.COMPLETE


def test_all_but_more_of_the_answer_is_another_revision() -> None:
    turn = Turn(0.0)
    revisions = []
    for message in (
        Delta(turn_id="t", text="Hello "),
        Delta(turn_id="t", text="again"),
        Delta(turn_id="t", text="hm", channel="reasoning"),
        Delta(turn_id="t", text="\n<think>so</think>"),
        ToolEvent(turn_id="t", call_id="1", name="Read"),
        Usage(turn_id="t", used=1),
    ):
        turn.apply(message, 1.0)
        revisions.append(turn.revision)
    assert revisions[:2] == [0, 0]
    assert revisions[2:] == sorted({*revisions[2:]})
    assert revisions[2] > 0
    assert turn.written >= len("Hello again")
