"""The panels above the answer, as a client is given them."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.cards.answer import json_bytes
from protocol.cards.panels import (
    DETAIL_BYTES_MAX,
    LEVEL_MAX,
    PLAN_BYTES_MAX,
    REASONING_BYTES_MAX,
    TOOL_BYTES_MAX,
    panels,
    tool_line,
)
from protocol.cards.turn import ToolStep, Turn
from protocol.wire.messages import Plan, PlanEntry
from tests.protocol.cards.test_card import stream


def turn_of(*steps: ToolStep, dropped: int = 0) -> Turn:
    turn = Turn(0.0)
    turn.steps, turn.steps_dropped = {step.call_id: step for step in steps}, dropped
    return turn


def small(content: str, element_id: str) -> dict[str, Any]:
    return {
        "tag": "markdown",
        "element_id": element_id,
        "text_size": "notation",
        "content": content,
    }


def both(node: dict[str, Any], en: str, zh: str) -> dict[str, Any]:
    return {**node, "content": zh, "i18n_content": {"en_us": en, "zh_cn": zh}}


def panel(name: str, en: str, zh: str, *inner: dict[str, Any], expanded: bool) -> dict[str, Any]:
    return {
        "tag": "collapsible_panel",
        "element_id": name,
        "expanded": expanded,
        "header": {"title": both({"tag": "plain_text"}, en, zh)},
        "border": {"color": "grey", "corner_radius": "5px"},
        "elements": list(inner),
    }


def test_plan_tools_and_reasoning_stand_above_the_answer_the_plan_alone_open() -> None:
    turn = turn_of(
        ToolStep(call_id="1", name="Read", kind="read", summary="a.py", status="success"),
        ToolStep(call_id="2", name="Run", kind="execute", output="ok\n", duration_ms=1_500),
        dropped=1,
    )
    entries = [PlanEntry(content="now", status="in_progress")] * 31
    turn.apply(Plan(turn_id="t", entries=entries), 1)
    stream(turn, "<think>hm</think>")
    tools = "✅ 📖 **Read**: a.py\n⏳ 💻 **Run** _(1.5s)_\n```\nok\n```"
    assert panels(turn, "zh", tools=True) == [
        panel(
            *("plan_panel", "📋 Plan (0/31)", "📋 任务清单 (0/31)"),
            small("\n".join(["⏳ now"] * 30), "plan"),
            both(small("", "plan_more"), "… 1 more", "… 还有 1 项"),
            expanded=True,
        ),
        panel(
            *("tools_panel", "🔧 Tool calls (3)", "🔧 工具调用 (3)"),
            both(small("", "tools_earlier"), "… 1 earlier", "… 更早的 1 个"),
            small(tools, "tools"),
            expanded=False,
        ),
        panel(
            *("reasoning_panel", "🧠 Reasoning", "🧠 思考过程"),
            small("hm", "reasoning"),
            expanded=False,
        ),
        {"tag": "hr"},
    ]


def test_what_is_shown_whole_counts_nothing_that_is_hidden() -> None:
    turn = turn_of(*(ToolStep(call_id=str(number), name="Run") for number in range(2)))
    turn.apply(Plan(turn_id="t", entries=[PlanEntry(content="a", status="pending")] * 30), 1)
    plan, tools = panels(turn, "en", tools=True)
    assert [len(one["elements"]) for one in (plan, tools)] == [1, 1]
    assert tools["elements"][0]["content"] == "⏳ 🔧 **Run**\n⏳ 🔧 **Run**"


@pytest.mark.parametrize("level", range(LEVEL_MAX))
def test_each_level_halves_what_every_panel_may_take(level: int) -> None:
    steps = (
        ToolStep(call_id=str(number), name="Run", kind="execute", output="线\n" * 900)
        for number in range(99)
    )
    turn = turn_of(*steps)
    entries = [PlanEntry(content="计划" * 99, status="pending")] * 30
    turn.apply(Plan(turn_id="t", entries=entries), 1)
    stream(turn, "<think>" + "想\n" * 9_999 + "</think>")
    plan, tools, reasoning, _ = panels(turn, "zh", tools=True, level=level)
    for shown, most in (
        (plan["elements"][0], PLAN_BYTES_MAX),
        (tools["elements"][1], TOOL_BYTES_MAX),
        (reasoning["elements"][0], REASONING_BYTES_MAX),
    ):
        size = json_bytes(shown["content"])
        assert most >> level + 2 < size <= (most >> level) + 40, shown["element_id"]
    assert panels(turn, "zh", tools=True, level=LEVEL_MAX) == []


@pytest.mark.parametrize(
    ("step", "detail"),
    [
        ({"status": "error", "error": "  no\n"}, "```\n  no\n```"),
        ({"status": "error", "error": " \n", "kind": "execute", "output": "x"}, "```\nx\n```"),
        ({"status": "success", "error": "none of a success"}, None),
        ({"kind": "edit", "change": "a.py\n-x\n+y\n"}, "```diff\na.py\n-x\n+y\n```"),
        ({"kind": "execute", "output": " a\nb \n"}, "```\n a\nb\n```"),
        ({"kind": "execute", "output": " \n"}, None),
        ({"kind": "read", "output": "the file"}, None),
    ],
)
def test_a_step_shows_why_it_failed_what_it_changes_or_what_it_gave(
    step: dict[str, str], detail: str | None
) -> None:
    shown = panels(turn_of(ToolStep(call_id="1", name="N", **step)), "en", tools=True)  # type: ignore[arg-type]
    _, newline, rest = shown[0]["elements"][0]["content"].partition("\n")
    assert (rest if newline else None) == detail


def test_of_what_a_step_gave_the_end_is_shown() -> None:
    output = "\n".join(f"line {number}" for number in range(999))
    step = ToolStep(call_id="1", name="N", kind="execute", output=output)
    shown = panels(turn_of(step), "en", tools=True)[0]["elements"][0]["content"]
    assert shown.endswith("line 998\n```")
    assert DETAIL_BYTES_MAX * 0.8 < json_bytes(shown.partition("\n")[2]) <= DETAIL_BYTES_MAX + 40


def test_of_one_long_line_the_end_is_shown() -> None:
    step = ToolStep(call_id="1", name="N", kind="execute", output="x" * 9_999 + "end")
    shown = panels(turn_of(step), "en", tools=True)[0]["elements"][0]["content"]
    assert shown.startswith("⏳ 💻 **N**\n```\n…\nxxx")
    assert shown.endswith("xend\n```")


def test_a_step_whose_detail_does_not_fit_stands_without_it_and_older_ones_stay() -> None:
    outputs = ["oldest", "x" * 999, *(letter * 1_150 for letter in "abcd")]
    steps = (
        ToolStep(call_id=str(number), name=f"Run {number}", kind="execute", output=output)
        for number, output in enumerate(outputs)
    )
    (content,) = (
        one["content"] for one in panels(turn_of(*steps), "en", tools=True)[0]["elements"]
    )
    for number, output in enumerate(outputs):
        assert f"**Run {number}**" in content
        assert (output in content) == (output[0] != "x")
    assert json_bytes(content) <= TOOL_BYTES_MAX


def test_a_detail_fits_to_the_last_byte_of_the_panel() -> None:
    def content(size: int) -> str:
        steps = [
            ToolStep(call_id=letter, name="Run", kind="execute", output=letter * many)
            for letter, many in (
                ("a", size),
                ("b", 1_100),
                ("c", 1_100),
                ("d", 1_100),
                ("e", 1_100),
            )
        ]
        shown: str = panels(turn_of(*steps), "en", tools=True)[0]["elements"][0]["content"]
        return shown

    most = max(size for size in range(1, 1_100) if "a" * size in content(size))
    assert json_bytes(content(most)) + 2 == TOOL_BYTES_MAX
    assert "a" not in content(most + 1)


def test_lines_alone_fill_the_panel_from_the_latest_and_one_is_always_shown() -> None:
    steps = [
        ToolStep(call_id=str(number), name="n" * 60, summary="s" * 119 + "\u4e00")
        for number in range(99)
    ]
    earlier, shown = panels(turn_of(*steps), "en", tools=True)[0]["elements"]
    line = json_bytes(tool_line(steps[0]).zh) + 2
    lines = shown["content"].count("\n") + 1
    assert lines == TOOL_BYTES_MAX // line
    assert str(99 - lines) in earlier["i18n_content"]["en_us"]
    tight = panels(turn_of(*steps), "en", tools=True, level=LEVEL_MAX - 1)[0]["elements"][1]
    assert tight["content"].count("\n") + 1 == (TOOL_BYTES_MAX >> (LEVEL_MAX - 1)) // line


def test_names_and_summaries_are_cut() -> None:
    step = ToolStep(call_id="1", name="n" * 99, summary="s" * 199, duration_ms=119_400)
    assert tool_line(step).en == f"⏳ 🔧 **{'n' * 59}…**: {'s' * 119}… _(1m 59s)_"
