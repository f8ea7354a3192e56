"""What the ledger keeps of a turn, and the turn that a repair makes of it."""

from __future__ import annotations

import msgspec
import pytest

from protocol.cards.kept import DETAIL_CHARACTERS_MAX, Rest, keep, restored, turn_of
from protocol.cards.panels import REASONING_BYTES_MAX
from protocol.cards.turn import ToolStep, Turn, TurnState
from protocol.ids import MessageId
from protocol.strings import on_card
from protocol.wire.messages import PlanEntry, Usage

PLAN = (PlanEntry(content="Mend", status="completed"),)
USAGE = Usage(turn_id="t", used=3, size=10)
REST = Rest(texts=("a", "b"), sure=False, message_id=MessageId("om_1"), topic="omt", title="T")


def a_turn() -> Turn:
    turn = Turn(0.0)
    turn.plan, turn.usage, turn.steps_dropped = PLAN, USAGE, 4
    long = "x" * DETAIL_CHARACTERS_MAX
    turn.steps = {
        "1": ToolStep(call_id="1", name="run", kind="execute", error=f"-{long}", output=f"-{long}"),
        "2": ToolStep(call_id="2", name="write", kind="edit", output="a file", change=f"{long}-"),
    }
    turn.restore_reasoning("first" + "y" * REASONING_BYTES_MAX)
    return turn


def test_a_turn_is_restored_as_its_card_showed_it() -> None:
    turn, rest = restored(keep(a_turn(), REST, tools=True))
    assert (turn.plan, turn.usage, turn.steps_dropped, rest) == (PLAN, USAGE, 4, REST)
    assert turn.reasoning == "y" * REASONING_BYTES_MAX
    run, write = turn.steps.values()
    assert run.error == run.output == write.change == "x" * DETAIL_CHARACTERS_MAX
    assert write.output == "", "only what a command printed is shown"
    assert list(turn.steps) == ["1", "2"]
    assert not turn.state.final


def test_a_card_without_tools_keeps_none() -> None:
    turn, _ = restored(keep(a_turn(), REST, tools=False))
    assert (turn.steps, turn.steps_dropped) == ({}, 0)
    assert turn.plan == PLAN


@pytest.mark.parametrize("kept", [b"", b"{", msgspec.json.encode({"plan": 3})])
def test_what_cannot_be_read_restores_nothing(kept: bytes) -> None:
    turn, rest = restored(kept)
    assert (turn.plan, turn.steps, turn.usage, rest) == ((), {}, None, Rest())
    assert rest.sure


def test_the_rest_is_an_interrupted_turn_of_its_own() -> None:
    turn = turn_of(Rest(texts=("one", "two", "three")), 2.5)
    assert turn.note == on_card.INTERRUPTED
    assert list(turn.answer.sealed) == ["one", "two"]
    assert turn.answer.current == "three"
    assert turn.state is TurnState.ABORTED
    assert (turn.started_at, turn.ended_at) == (0.0, 2.5)
