"""What is kept of a step: as much of its latest as fits, and no byte more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.wire import messages as wire
from protocol.wire.steps import (
    DIFFS_MAX,
    ERROR_CHARACTERS_MAX,
    ID_CHARACTERS_MAX,
    PLAN_CHARACTERS_MAX,
    PLAN_ENTRIES_MAX,
    SUMMARY_CHARACTERS_MAX,
    bounded,
    bounded_step,
    one_line,
    summarise,
)
from protocol.wire.vocabulary import STEP_TEXT_BYTES_MAX as MAX


def step(**fields: Any) -> wire.ToolEvent:
    return bounded_step(wire.ToolEvent(turn_id="t", call_id="c", **fields))


def size(diff: wire.FileDiff) -> int:
    return len((diff.path + (diff.old or "") + diff.new).encode(errors="replace"))


@pytest.mark.parametrize("field", ["output", "error"])
@pytest.mark.parametrize("text", ["", "x" * MAX, "é" * (MAX // 2), "x" + "界" * (MAX // 3)])
def test_what_fits_is_kept_as_it_is(field: str, text: str) -> None:
    assert len(text.encode()) in {0, MAX}
    assert getattr(step(**{field: text}), field) == text


@given(
    start=st.text(alphabet="aé界😀\ud800", min_size=1, max_size=8),
    unit=st.text(alphabet="bé界😀", min_size=1, max_size=8),
)
def test_of_what_does_not_fit_the_end_is_kept_and_no_character_torn(start: str, unit: str) -> None:
    text = start + unit * (MAX // len(unit.encode()) + 1)
    kept = step(output=text).output
    assert kept is not None
    assert text.endswith(kept)
    assert MAX - 3 <= len(kept.encode()) <= MAX


def test_changes_are_kept_from_the_latest_back_while_they_fit() -> None:
    third = MAX // 3
    diffs = [
        wire.FileDiff(path="/a", new="y" * third),
        wire.FileDiff(path="/bé", old="o" * (third - 4), new=""),
        wire.FileDiff(path="/c", new="n" * (third - 2)),
        wire.FileDiff(path="", old="l" * (MAX % 3), new="n" * third),
    ]
    assert sum(map(size, diffs[1:])) == MAX
    assert step(diff=diffs).diff == diffs[1:]
    longer = [diffs[0], wire.FileDiff(path="/bé!", old=diffs[1].old, new=""), *diffs[2:]]
    assert step(diff=longer).diff == diffs[2:]
    assert step(diff=[diffs[0], diffs[2]]).diff == [diffs[0], diffs[2]]
    assert step(diff=[*longer, wire.FileDiff(path="/d", new="z" * (MAX - 2))]).diff == [
        wire.FileDiff(path="/d", new="z" * (MAX - 2))
    ]


def test_a_change_that_does_not_fit_ends_the_list_though_an_older_one_would() -> None:
    small, large = wire.FileDiff(path="/s", new="s"), wire.FileDiff(path="/l", new="l" * MAX)
    assert step(diff=[small, large, small]).diff == [small]


@pytest.mark.parametrize("old", [None, "", "o" * MAX])
def test_of_one_change_that_is_too_large_the_end_of_each_side_is_kept(old: str | None) -> None:
    large = wire.FileDiff(path="/p" * 2_000, old=old, new="n" * MAX + "end")
    (kept,) = step(diff=[wire.FileDiff(path="/s", new="s"), large]).diff or []
    assert kept.path == "/p" * 512
    assert kept.new.endswith("nnend")
    assert kept.old == (old if not old else "o" * len(kept.new))
    assert MAX // 2 - 4_096 < len(kept.new) < MAX // 2
    assert size(kept) <= MAX


def test_the_latest_changes_count() -> None:
    diffs = [wire.FileDiff(path=f"/{number}", new="") for number in range(DIFFS_MAX + 1)]
    assert step(diff=diffs).diff == diffs[1:]
    assert step(diff=diffs[1:]).diff == diffs[1:]
    assert step(diff=[]).diff == []


def test_what_is_short_is_kept() -> None:
    event = step(parent_id="p" * ID_CHARACTERS_MAX, input={"command": "ls"})
    assert (event.call_id, event.parent_id, event.input) == ("c", "p" * ID_CHARACTERS_MAX, "ls")
    assert step(parent_id="p" * ID_CHARACTERS_MAX + "q").parent_id == event.parent_id
    assert bounded_step(wire.ToolEvent(turn_id="t", call_id="c" * 300)).call_id == "c" * 256


def test_what_is_absent_stays_absent() -> None:
    event = wire.ToolEvent(turn_id="t", call_id="c")
    assert bounded(event) == event


def test_plans_and_errors_at_their_limits_are_passed_on_as_they_are() -> None:
    entry = wire.PlanEntry(content="x" * PLAN_CHARACTERS_MAX, status="pending")
    plan = wire.Plan(turn_id="t", entries=[entry] * PLAN_ENTRIES_MAX)
    assert bounded(plan) is plan
    more = wire.Plan(turn_id="t", entries=[*plan.entries, entry])
    assert bounded(more) == plan
    longer = wire.PlanEntry(content=entry.content + "y", status="pending")
    assert bounded(wire.Plan(turn_id="t", entries=[longer])) == wire.Plan(
        turn_id="t", entries=[entry]
    )
    end = wire.TurnEnd(turn_id="t", status="error", error="e" * ERROR_CHARACTERS_MAX)
    assert bounded(end) is end
    over = wire.TurnEnd(turn_id="t", status="error", error="e" * ERROR_CHARACTERS_MAX + "!")
    assert bounded(over) == end


@pytest.mark.parametrize(
    ("given_input", "shown"),
    [
        ({"command": "ls\n  -l"}, "ls -l"),
        ({"command": "", "file_path": "/a"}, "/a"),
        ({"command": 7, "path": "/p"}, "/p"),
        ({"description": "d", "pattern": "p"}, "p"),
        ({"url": "u", "query": "q"}, "q"),
        ({"url": "u", "description": "d"}, "u"),
        ({"description": "d", "other": "o"}, "d"),
        ({"other": 1}, '{"other":1}'),
        (["a", 1], '["a",1]'),
        ("two\nlines", "two lines"),
        ({"command": object()}, ""),
    ],
)
def test_an_input_is_one_line_of_what_it_names(given_input: Any, shown: str) -> None:
    assert summarise(given_input) == shown


def test_a_line_that_is_too_long_ends_in_an_ellipsis() -> None:
    fits = "x" * SUMMARY_CHARACTERS_MAX
    assert one_line(fits) == fits
    assert one_line(fits + "y") == fits[:-1] + "…"
    assert one_line("a " * 60 + " " * 1_000) == ("a " * 60).strip()
