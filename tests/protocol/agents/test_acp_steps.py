"""What an agent reports of a tool call is found wherever it put it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.agents.acp_steps import (
    DIFFS_MAX,
    TITLE_CHARACTERS_MAX,
    diffs_of,
    output_of,
    place_of,
    step,
    unified,
)
from protocol.wire import messages as wire
from tests.kit.json_values import json_values

ODD = json_values(
    "type", "path", "content", "text", "resource", "oldText", "newText", "line", "error"
)


def call(**fields: Any) -> dict[str, Any]:
    return {"toolCallId": "c1", **fields}


def step_event(**fields: Any) -> wire.ToolEvent:
    event = step(call(**fields), "t1")
    assert event is not None
    return event


def text_block(text: str) -> dict[str, Any]:
    return {"type": "content", "content": {"type": "text", "text": text}}


def diff(path: str = "a.py", **fields: Any) -> dict[str, Any]:
    return {"type": "diff", "path": path, "newText": "new", **fields}


def test_a_call_without_an_id_is_no_step() -> None:
    assert step({"title": "Read"}, "t1") is None
    assert step({"toolCallId": 7, "title": "Read"}, "t1") is None


def test_an_update_names_only_what_it_brings() -> None:
    assert step_event() == wire.ToolEvent(turn_id="t1", call_id="c1")


def test_a_whole_call() -> None:
    assert step_event(
        title="Run tests",
        kind="execute",
        status="in_progress",
        rawInput={"command": "make test"},
        locations=[{"path": "/w/Makefile", "line": 7}],
        content=[text_block("ok"), diff(oldText="old")],
    ) == wire.ToolEvent(
        turn_id="t1",
        call_id="c1",
        name="Run tests",
        kind="execute",
        status="running",
        summary="/w/Makefile:7",
        input={"command": "make test"},
        output="ok",
        diff=[wire.FileDiff(path="a.py", old="old", new="new")],
    )


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("read", "read"),
        ("fetch", "read"),
        ("search", "search"),
        ("execute", "execute"),
        ("edit", "edit"),
        ("delete", "edit"),
        ("move", "edit"),
        ("think", "think"),
        ("switch_mode", "other"),
        ("other", "other"),
        ("of a later version", None),
        (None, None),
    ],
)
def test_kinds(kind: object, shown: str | None) -> None:
    assert step_event(kind=kind).kind == shown


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("pending", "running"),
        ("in_progress", "running"),
        ("completed", "success"),
        ("failed", "error"),
        ("odd", None),
        (None, None),
    ],
)
def test_statuses(status: object, shown: str | None) -> None:
    assert step_event(status=status).status == shown


def test_a_title_is_cut_at_its_limit() -> None:
    assert step_event(title="x" * (TITLE_CHARACTERS_MAX + 1)).name == "x" * TITLE_CHARACTERS_MAX
    assert step_event(title="").name is None


def test_an_empty_input_brings_none() -> None:
    assert step_event(rawInput={}).input is None
    assert step_event(rawInput=["a"]).input == ["a"]


# ── where a reason and an output are ──


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("no such file", "no such file"),
        ({"error": "e", "message": "m", "stderr": "s", "output": "o"}, "e"),
        ({"message": "m", "stderr": "s", "output": "o"}, "m"),
        ({"stderr": "s", "output": "o"}, "s"),
        ({"output": "o"}, "o"),
        ({"error": "", "message": "m"}, "m"),
        ({"error": {"no": "text"}, "output": "o"}, "o"),
        ({"content": [{"text": "why"}]}, "why"),
        ({"content": [{"error": "e", "text": "t"}], "message": ""}, "t"),
        ({"exit_code": 1}, '{"exit_code":1}'),
    ],
)
def test_a_failed_step_shows_why_and_has_no_output(raw: object, reason: str) -> None:
    event = step_event(status="failed", rawOutput=raw, content=[text_block("printed")])
    assert event.error == reason
    assert event.output is None


@pytest.mark.parametrize("raw", [None, "", {}, 3, [{"text": "listed"}]])
def test_a_failure_without_a_reason_shows_what_it_printed(raw: object) -> None:
    event = step_event(status="failed", rawOutput=raw, content=[text_block("printed")])
    assert event.error == "printed"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("text", "text"),
        ("", None),
        ({}, None),
        (None, None),
        (7, None),
        ({"aggregated_output": "a", "formatted_output": "f", "output": "o"}, "a"),
        ({"formatted_output": "f", "output": "o"}, "f"),
        ({"output": "o", "stdout": "s"}, "o"),
        ({"stdout": "s", "stderr": "e"}, "s"),
        ({"stderr": "e", "text": "t"}, "e"),
        ({"text": "t"}, "t"),
        ({"error": "is no output", "x": 1}, '{"error":"is no output","x":1}'),
        ([{"text": "a"}, 3, {"resource": {"text": "b"}}, {}], "a\nb"),
        ([], None),
        ({"content": "inner"}, "inner"),
        ({"content": [{"text": "inner"}]}, "inner"),
        ({"half": "\ud83d"}, None),
        ({"object": object()}, None),
    ],
)
def test_raw_output_of_every_form(raw: object, shown: str | None) -> None:
    assert output_of(call(rawOutput=raw)) == shown


def test_content_comes_before_raw_output() -> None:
    blocks = [
        text_block("one"),
        text_block(""),
        {"type": "content", "content": {"type": "resource", "resource": {"text": "two"}}},
        {"type": "content", "content": "odd"},
        {"type": "content", "content": {"resource": "odd"}},
        {"type": "terminal", "content": {"text": "no"}},
        "odd",
    ]
    assert output_of(call(content=blocks, rawOutput="raw")) == "one\ntwo"
    assert output_of(call(content="odd", rawOutput="raw")) == "raw"


# ── which file ──


@pytest.mark.parametrize(
    ("locations", "place"),
    [
        ([{"path": "a"}], "a"),
        ([{"path": "a", "line": 0}], "a:0"),
        ([{"path": "a", "line": 3}, {"path": "b"}], "a:3"),
        ([{"path": "a", "line": True}], "a"),
        ([{"path": "a", "line": "3"}], "a"),
        ([{"path": ""}], "of the diff"),
        (["odd"], "of the diff"),
        ([], "of the diff"),
        ("odd", "of the diff"),
        (None, "of the diff"),
    ],
)
def test_a_step_is_about_its_first_location_or_its_change(locations: object, place: str) -> None:
    assert place_of(call(locations=locations, content=[diff("of the diff")])) == place


def test_a_step_may_be_about_no_file() -> None:
    assert place_of(call(content=[text_block("a")])) is None


def test_changes_need_a_path_and_are_bounded() -> None:
    content = [
        diff("", oldText="x"),
        {"type": "text", "path": "no"},
        diff("new file", oldText=None),
        diff("odd", oldText=3, newText=4),
        *[diff(f"{number}") for number in range(DIFFS_MAX)],
    ]
    diffs = diffs_of(call(content=content))
    assert diffs[:2] == [
        wire.FileDiff(path="new file", old=None, new="new"),
        wire.FileDiff(path="odd", old=None, new=""),
    ]
    assert len(diffs) == DIFFS_MAX


def test_a_change_is_shown_as_its_lines() -> None:
    assert (
        unified(
            [
                wire.FileDiff(path="a", old="1\n2\n", new="1\n3"),
                wire.FileDiff(path="b", old=None, new="x"),
            ]
        )
        == "a\n- 1\n- 2\n+ 1\n+ 3\nb\n+ x"
    )


@given(
    st.dictionaries(
        st.sampled_from(
            ["title", "kind", "status", "locations", "content", "rawInput", "rawOutput"]
        ),
        ODD,
    )
)
def test_an_odd_report_never_raises(fields: dict[str, Any]) -> None:
    event = step_event(**fields)
    assert event.call_id == "c1"
    assert event.output is None or event.error is None
