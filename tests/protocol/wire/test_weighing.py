"""Counting values before they are decoded, and cutting what is large into pieces."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.wire import messages as wire
from protocol.wire.codec import InvalidMessage
from protocol.wire.pieces import PIECE_CHARACTERS, PIECE_LINES, in_pieces, is_large, texts
from protocol.wire.steps import PLAN_ENTRIES_MAX, bounded
from protocol.wire.weighing import SLICE_VALUES, weigh

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=300)
    | st.binary(max_size=300)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20)
    ),
    max_leaves=60,
)


def held(value: Any) -> int:
    match value:
        case list():
            return 1 + sum(map(held, value))
        case dict():
            return 1 + len(value) + sum(map(held, value.values()))
    return 1


def counted(body: bytes, most: int) -> int:
    slices = sum(1 for _ in weigh(body, most))
    return slices * SLICE_VALUES


@given(VALUES)
def test_as_many_values_are_counted_as_are_held(value: Any) -> None:
    body = msgspec.msgpack.encode(value)
    for _ in weigh(body, held(value)):
        pass
    if held(value) > 1:
        with pytest.raises(InvalidMessage, match="of over"):
            for _ in weigh(body, held(value) - 1):
                pass


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65_535, 65_536])
def test_every_width_of_a_length_is_read(size: int) -> None:
    for value in ("x" * size, b"x" * size, [1] * size, {str(n): n for n in range(size)}):
        for _ in weigh(msgspec.msgpack.encode(value), held(value)):
            pass
    ext = msgspec.msgpack.encode(msgspec.msgpack.Ext(5, b"x" * size))
    for _ in weigh(ext, 1):
        pass


@given(st.binary(max_size=2_000))
def test_no_body_is_counted_for_ever(body: bytes) -> None:
    for _ in weigh(body, len(body)):
        pass


@given(st.text(alphabet="ab\n界", max_size=20_000))
def test_pieces_are_small_and_hold_the_same(text: str) -> None:
    pieces = list(texts(text))
    assert "".join(pieces) == text
    assert all(len(one) <= PIECE_CHARACTERS and one.count("\n") <= PIECE_LINES for one in pieces)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("", [0]),
        ("x" * PIECE_CHARACTERS, [PIECE_CHARACTERS]),
        ("x" * PIECE_CHARACTERS + "y", [PIECE_CHARACTERS, 1]),
        ("\n" * PIECE_LINES, [PIECE_LINES]),
        ("\n" * PIECE_LINES + "x", [PIECE_LINES + 1]),
        ("\n" * (PIECE_LINES + 1), [PIECE_LINES, 1]),
        (("x" * 9 + "\n") * 100 + "y", [10 * PIECE_LINES, 10 * (100 - PIECE_LINES) + 1]),
        ("x" * PIECE_CHARACTERS + "\n" * (PIECE_LINES + 1), [PIECE_CHARACTERS, PIECE_LINES, 1]),
    ],
)
def test_a_piece_is_as_large_as_it_may_be(text: str, sizes: list[int]) -> None:
    assert [len(one) for one in texts(text)] == sizes


def test_a_delta_is_cut_and_nothing_else() -> None:
    delta = wire.Delta(turn_id="t", text="\n" * 5_000, channel="reasoning")
    cut = list(in_pieces(delta))
    assert all(isinstance(one, wire.Delta) and one.channel == "reasoning" for one in cut)
    assert all(map(is_large, cut[:-1]))
    small = wire.Delta(turn_id="t", text="Hello")
    assert list(in_pieces(small)) == [small]
    assert not is_large(small)
    end = wire.TurnEnd(turn_id="t", status="complete", text="x" * 10_000)
    assert list(in_pieces(end)) == [end]
    assert is_large(end)


HALF, LINES = PIECE_CHARACTERS // 2, PIECE_LINES // 2


@pytest.mark.parametrize(
    ("fits", "large"),
    [
        (wire.Delta(turn_id="t", text="x" * HALF), wire.Delta(turn_id="t", text="x" * HALF + "y")),
        (
            wire.Delta(turn_id="t", text="\n" * LINES),
            wire.Delta(turn_id="t", text="\n" * LINES + "\n"),
        ),
        (
            wire.ToolEvent(turn_id="t", call_id="c", output="x" * HALF, error="e" * HALF),
            wire.ToolEvent(turn_id="t", call_id="c", output="x" * HALF, error="e" * HALF + "y"),
        ),
        (
            wire.ToolEvent(turn_id="t", call_id="c"),
            wire.ToolEvent(turn_id="t", call_id="c", diff=[]),
        ),
        (
            wire.Plan(turn_id="t", entries=[wire.PlanEntry(content="", status="pending")] * 64),
            wire.Plan(turn_id="t", entries=[wire.PlanEntry(content="", status="pending")] * 65),
        ),
        (
            wire.TurnEnd(turn_id="t", status="complete", text="x" * PIECE_CHARACTERS),
            wire.TurnEnd(turn_id="t", status="complete", text="x" * PIECE_CHARACTERS + "y"),
        ),
        (wire.TurnEnd(turn_id="t", status="complete"), None),
        (wire.Usage(turn_id="t"), None),
    ],
)
def test_what_is_large_begins_above_a_piece(
    fits: wire.TurnMessage, large: wire.TurnMessage | None
) -> None:
    assert not is_large(fits)
    assert large is None or is_large(large)


def test_a_delta_of_one_piece_is_passed_on_and_a_longer_one_is_cut_in_order() -> None:
    whole = wire.Delta(turn_id="t", text="x" * PIECE_CHARACTERS, channel="reasoning")
    assert next(in_pieces(whole)) is whole
    longer = wire.Delta(turn_id="t", text=whole.text + "end", channel="reasoning")
    assert [*in_pieces(longer)] == [
        whole,
        wire.Delta(turn_id="t", text="end", channel="reasoning"),
    ]


def test_of_what_a_turn_sends_no_more_is_kept_than_can_be_of_use() -> None:
    long = "x" * 1_000_000
    step = bounded(
        wire.ToolEvent(
            turn_id="t",
            call_id=long,
            parent_id=long,
            input={"command": long},
            output=long + "end",
            error=long,
            diff=[wire.FileDiff(path="", new="")] * 100_000,
        )
    )
    assert isinstance(step, wire.ToolEvent)
    assert len(msgspec.msgpack.encode(step)) < 150_000
    assert (step.output or "").endswith("end")
    entries = [wire.PlanEntry(content=long, status="pending")] * (PLAN_ENTRIES_MAX + 5)
    plan = bounded(wire.Plan(turn_id="t", entries=entries))
    assert isinstance(plan, wire.Plan)
    assert len(plan.entries) == PLAN_ENTRIES_MAX
    assert len(plan.entries[0].content) == 1_000
    end = bounded(wire.TurnEnd(turn_id="t", status="error", error=long))
    assert isinstance(end, wire.TurnEnd)
    assert len(end.error or "") == 8_000


def test_others_have_their_turn_after_each_slice() -> None:
    body = msgspec.msgpack.encode([0] * (2 * SLICE_VALUES))
    assert list(weigh(body, 3 * SLICE_VALUES)) == [SLICE_VALUES, 2 * SLICE_VALUES]
