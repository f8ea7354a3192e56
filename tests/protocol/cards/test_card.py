"""What a card shows, string by string, and that the platform takes it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from actors.sandbox.cardschema import CARD_BYTES_MAX, check_card
from protocol.cards.answer import json_bytes
from protocol.cards.card import (
    ERROR_BYTES_MAX,
    Style,
    View,
    view_of,
    view_repaired,
    view_running,
    view_sealed,
)
from protocol.cards.elements import harmless
from protocol.cards.panels import PLAN_BYTES_MAX, tool_line
from protocol.cards.turn import (
    DETAIL_CHARACTERS_MAX,
    REASONING_CHARACTERS_MAX,
    ToolStep,
    Turn,
    TurnState,
)
from protocol.ids import SessionId, TurnId
from protocol.wire.messages import Delta, FileDiff, Plan, PlanEntry, ToolEvent, TurnEnd, Usage

STYLE = Style(session_id=SessionId("s"), turn_id=TurnId("t"))


def stream(turn: Turn, *texts: str, at: float = 1.0) -> None:
    for text in texts:
        turn.apply(Delta(turn_id="t", text=text), at)


def card_of(view: View) -> dict[str, Any]:
    """The card, which the platform must take."""
    card: dict[str, Any] = json.loads(view.card_json)
    check_card(card)
    assert len(view.card_json.encode()) <= CARD_BYTES_MAX
    return card


def elements(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return check_card(card)


def text(node: dict[str, Any], language: str = "en_us") -> str:
    return str(node.get("i18n_content", {}).get(language, node["content"]))


def test_a_thinking_card_has_a_footer_and_a_stop_button() -> None:
    view = view_running(Turn(0.0), STYLE, 8.2)
    card = card_of(view)
    assert card["config"]["streaming_mode"] is True
    assert card["config"]["summary"]["i18n_content"] == {
        "en_us": "Processing...",
        "zh_cn": "处理中...",
    }
    shown = elements(card)
    assert shown["footer"]["content"] == "⏳ Processing... 8.2s"
    assert shown["stop"]["behaviors"][0]["value"] == {"larkd": "stop", "session": "s", "turn": "t"}
    assert (
        view_running(
            Turn(0.0), Style(session_id=SessionId("s"), turn_id=TurnId("t"), language="zh"), 8.2
        ).footer
        == "⏳ 处理中... 8.2s"
    )


@pytest.mark.parametrize(
    ("answer", "summary"),
    [
        ("## Part 1\n\nSome words", "Part 1"),
        ("```py\nvalue = 1\n```", "value = 1"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a | b"),
        ("---\n\n- first", "first"),
        ("```\n```", "Done"),
    ],
)
def test_the_chat_list_shows_the_first_words_of_the_answer(answer: str, summary: str) -> None:
    turn = Turn(0.0)
    turn.apply(TurnEnd(turn_id="t", status="complete", text=answer), 1.0)
    card = view_running(turn, STYLE, 1.0).card
    assert card["config"]["summary"]["content"] == summary


def test_the_chat_list_shows_how_an_answer_begins_that_goes_on_from_another_card() -> None:
    turn = Turn(0.0)
    long = "# The beginning\n\n" + "words of it\n\n" * 4_000
    turn.apply(TurnEnd(turn_id="t", status="complete", text=long), 1.0)
    assert turn.answer.sealed
    card = view_running(turn, STYLE, 1.0).card
    assert card["config"]["summary"]["content"] == "The beginning"


@pytest.mark.parametrize(
    ("status", "english", "chinese", "summary"),
    [
        ("complete", "Done · 3.4s", "已完成 · 3.4s", "the answer"),
        ("aborted", "🛑 Stopped · 3.4s", "🛑 已停止 · 3.4s", "Stopped"),
        ("error", "❌ Error · 3.4s", "❌ 出错 · 3.4s", "Error"),
    ],
)
def test_a_final_card_shows_how_it_ended_in_both_languages(
    status: Any, english: str, chinese: str, summary: str
) -> None:
    turn = Turn(0.0)
    stream(turn, "the answer\nand more")
    turn.apply(TurnEnd(turn_id="t", status=status, error="why" if status == "error" else None), 3.4)
    card = card_of(view_running(turn, STYLE, 99.0))
    shown = elements(card)
    assert text(shown["footer"]) == english
    assert text(shown["footer"], "zh_cn") == chinese
    assert text(card["config"]["summary"]) == summary
    assert card["config"]["streaming_mode"] is False
    assert "stop" not in shown
    assert shown["answer"]["content"] == "the answer\nand more"
    assert ("error" in shown) is (status == "error")


def test_usage_follows_the_footer() -> None:
    turn = Turn(0.0)
    turn.apply(
        Usage(turn_id="t", used=150_000, size=200_000, input_tokens=1_200, output_tokens=800), 1
    )
    assert view_running(turn, STYLE, 2).footer == (
        "⏳ Processing... 2.0s · ↑1.2k · ↓800 · ctx 150k/200k 75%"
    )


def test_the_plan_shows_thirty_entries_and_counts_the_rest() -> None:
    turn = Turn(0.0)
    entries = [
        PlanEntry(content="done", status="completed"),
        PlanEntry(content="now", status="in_progress"),
        *(PlanEntry(content=f"later {n}", status="pending") for n in range(998)),
    ]
    turn.apply(Plan(turn_id="t", entries=entries), 1)
    shown = elements(card_of(view_running(turn, STYLE, 1)))
    title = shown["plan_panel"]["header"]["title"]
    assert (text(title), text(title, "zh_cn")) == ("📋 Plan (1/1000)", "📋 任务清单 (1/1000)")
    lines = text(shown["plan"]).splitlines()
    assert lines[:3] == ["✅ ~~done~~", "⏳ now", "⬜ later 0"]
    assert len(lines) == 30
    assert text(shown["plan_more"]) == "… 970 more"
    assert text(shown["plan_more"], "zh_cn") == "… 还有 970 项"
    assert shown["plan_panel"]["expanded"] is True


def test_the_tool_panel_shows_the_latest_and_counts_the_earlier() -> None:
    turn = Turn(0.0)
    for number in range(10_000):
        turn.apply(
            ToolEvent(
                turn_id="t",
                call_id=f"c{number}",
                name="Read",
                kind="read",
                summary=f"file {number}",
                status="running",
            ),
            1,
        )
        turn.apply(ToolEvent(turn_id="t", call_id=f"c{number}", status="success"), 2.5)
    shown = elements(card_of(view_running(turn, STYLE, 3)))
    assert text(shown["tools_panel"]["header"]["title"]) == "🔧 Tool calls (10000)"
    lines = text(shown["tools"]).splitlines()
    assert lines[-1] == "✅ 📖 **Read**: file 9999 _(1.5s)_"
    assert len(lines) == 50
    assert text(shown["tools_earlier"]) == "… 9950 earlier"
    assert text(shown["tools_earlier"], "zh_cn") == "… 更早的 9950 个"
    quiet = Style(session_id=SessionId("s"), turn_id=TurnId("t"), tools=False)
    assert "tools" not in elements(card_of(view_running(turn, quiet, 3)))


def test_a_step_that_was_rejected_shows_it_in_both_languages_whatever_the_agent_adds() -> None:
    turn = Turn(0.0)
    turn.apply(ToolEvent(turn_id="t", call_id="1", name="Write", kind="edit"), 0.0)
    rejected = ToolEvent(turn_id="t", call_id="1", status="error", error="rejected")
    turn.apply(rejected, 1.0)
    alone = text(elements(card_of(view_running(turn, STYLE, 1.0)))["tools"])
    assert alone == "❌ ✏️ **Write** _(1.0s)_ _(rejected)_"
    turn.apply(msgspec.structs.replace(rejected, error="the user declined"), 1.0)
    tools = elements(card_of(view_running(turn, STYLE, 1.0)))["tools"]
    assert tools["i18n_content"] == {
        "en_us": "❌ ✏️ **Write** _(1.0s)_ _(rejected)_\n```\nthe user declined\n```",
        "zh_cn": "❌ ✏️ **Write** _(1.0s)_ _(已拒绝)_\n```\nthe user declined\n```",
    }


def test_steps_without_summary_are_described_by_their_input_and_children_indented() -> None:
    turn = Turn(0.0)
    turn.apply(
        ToolEvent(
            turn_id="t",
            call_id="p",
            name="Task",
            kind="other",
            status="running",
            input={"x": 1, "command": "make\n  test"},
        ),
        1,
    )
    turn.apply(
        ToolEvent(
            turn_id="t",
            call_id="c",
            name="<at id=all>",
            status="error",
            parent_id="p",
            duration_ms=1500,
        ),
        1,
    )
    lines = text(elements(card_of(view_running(turn, STYLE, 1)))["tools"]).splitlines()
    assert lines[0] == "⏳ 🔧 **Task**: make test"
    assert lines[1] == "&emsp;❌ 🔧 **&#60;at id=all&#62;** _(1.5s)_"


def test_reasoning_has_its_own_panel_above_a_rule() -> None:
    turn = Turn(0.0)
    turn.apply(Delta(turn_id="t", text="I wonder", channel="reasoning"), 1)
    stream(turn, "<think> and think</think>answer")
    card = card_of(view_running(turn, STYLE, 1))
    tags = [node["tag"] for node in card["body"]["elements"]]
    assert tags[:3] == ["collapsible_panel", "hr", "markdown"]
    shown = elements(card)
    assert shown["reasoning"]["content"] == "I wonder and think"
    assert shown["reasoning"]["text_size"] == "notation"
    assert text(shown["reasoning_panel"]["header"]["title"], "zh_cn") == "🧠 思考过程"
    assert shown["answer"]["content"] == "answer"


def test_the_first_final_state_wins_and_what_comes_later_is_dropped() -> None:
    turn = Turn(0.0)
    stream(turn, "a")
    assert turn.stop(1.0)
    assert not turn.stop(2.0)
    assert not turn.lose_session(2.0)
    assert not turn.apply(Delta(turn_id="t", text="b"), 2.0)
    assert not turn.apply(TurnEnd(turn_id="t", status="complete", text="tail"), 2.0)
    assert (turn.state, turn.answer.current) == (TurnState.ABORTED, "a")


def test_a_lost_session_is_an_error_that_names_it() -> None:
    turn = Turn(0.0)
    turn.lose_session(1.0)
    error = elements(card_of(view_running(turn, STYLE, 1)))["error"]
    assert error["content"] == "<font color='red'>session disconnected</font>"
    assert text(error, "zh_cn") == "<font color='red'>会话已断开</font>"


def test_a_repaired_card_keeps_its_text_and_shows_why_it_stopped() -> None:
    shown = elements(card_of(view_repaired(STYLE, Turn(0.0), "so far", 61)))
    assert shown["answer"]["content"] == "so far"
    assert text(shown["note"]) == "Interrupted by a restart."
    assert text(shown["note"], "zh_cn") == "因重启而中断。"
    assert text(shown["footer"]) == "🛑 Stopped · 1m 1s"


def test_a_sealed_card_shows_that_it_goes_on() -> None:
    turn = Turn(0.0)
    turn.apply(Plan(turn_id="t", entries=[PlanEntry(content="look", status="pending")]), 1)
    shown = elements(card_of(view_sealed(turn, STYLE, "part one")))
    assert "stop" not in shown, "the card below has the button"
    assert "plan_panel" not in shown, "so it has the panels"
    assert text(shown["footer"]) == "Continued below"
    assert text(shown["footer"], "zh_cn") == "下接"


def test_the_fullest_card_is_still_within_the_platforms_limits() -> None:
    turn = Turn(0.0)
    for number in range(60):
        turn.apply(
            ToolEvent(
                turn_id="t",
                call_id=f"c{number}",
                name="工具" * 40,
                kind="edit",
                summary="摘要<>*`" * 60,
                status="running",
            ),
            1,
        )
    turn.apply(
        Plan(turn_id="t", entries=[PlanEntry(content="计划<>" * 80, status="pending")] * 90), 1
    )
    turn.apply(Delta(turn_id="t", text="思考" * 20_000, channel="reasoning"), 1)
    stream(turn, *(['字"\\' * 500] * 100))
    turn.apply(TurnEnd(turn_id="t", status="error", error="错误<>" * 2_000), 2)
    number = 0
    while number <= len(turn.answer.sealed):
        card_of(view_of(turn, STYLE, number, 3))
        number += 1
    assert number > 3


def test_reply_mode_final_shows_nothing_until_the_end() -> None:
    style = Style(session_id=SessionId("s"), turn_id=TurnId("t"), live=False)
    turn = Turn(0.0)
    stream(turn, "hidden yet")
    assert view_running(turn, style, 1).answer == ""
    turn.apply(TurnEnd(turn_id="t", status="complete"), 2)
    assert view_running(turn, style, 2).answer == "hidden yet"


# ── what a mutation would change ────────────────────────────────────────────


def test_reasoning_mentions_nobody_and_draws_no_picture() -> None:
    turn = Turn(0.0)
    thought = "see ![x](http://x/y.png) and <at id=all></at>"
    turn.apply(Delta(turn_id="t", text=thought, channel="reasoning"), 1)
    shown = text(elements(card_of(view_running(turn, STYLE, 1)))["reasoning"])
    assert shown == "see [x](http://x/y.png) and &#60;at id=all>&#60;/at>"


def test_plan_and_error_keep_to_their_bytes() -> None:
    turn = Turn(0.0)
    entries = [PlanEntry(content="计划<>" * 40, status="pending")] * 30
    turn.apply(Plan(turn_id="t", entries=entries), 1)
    turn.apply(TurnEnd(turn_id="t", status="error", error="错<" * 1_000), 1)
    shown = elements(card_of(view_running(turn, STYLE, 1)))
    assert 1_000 < json_bytes(text(shown["plan"])) <= PLAN_BYTES_MAX
    assert text(shown["plan"]).count("⬜") == 30, "each has less, none is left out"
    assert 500 < json_bytes(text(shown["error"])) <= ERROR_BYTES_MAX + 40


@pytest.mark.parametrize(
    ("status", "mark"), [("complete", "✅"), ("aborted", "❌"), ("error", "❌")]
)
def test_a_step_that_ran_at_the_end_succeeded_only_if_the_turn_did(status: Any, mark: str) -> None:
    turn = Turn(0.0)
    turn.apply(ToolEvent(turn_id="t", call_id="1", name="Read", status="running"), 1)
    turn.apply(TurnEnd(turn_id="t", status=status), 2)
    assert text(elements(card_of(view_running(turn, STYLE, 2)))["tools"]).startswith(mark)


@pytest.mark.parametrize("end", [Turn.stop, Turn.lose_session])
def test_text_that_was_held_back_is_shown_when_the_turn_is_cut(end: Any) -> None:
    turn = Turn(0.0)
    turn.apply(Delta(turn_id="t", text="so a <thi"), 1)
    assert turn.answer.current == "so a "
    end(turn, 2)
    assert turn.answer.current == "so a <thi"


def test_reasoning_tags_in_the_tail_are_reasoning() -> None:
    turn = Turn(0.0)
    turn.apply(Delta(turn_id="t", text="streamed, "), 1)
    tail = "<think>why</think>and a tail"
    turn.apply(TurnEnd(turn_id="t", status="complete", text=tail), 2)
    assert (turn.answer.current, turn.reasoning) == ("streamed, and a tail", "why")


def test_a_block_that_never_closed_ends_before_the_tail() -> None:
    turn = Turn(0.0)
    turn.apply(Delta(turn_id="t", text="<think>hm"), 1)
    turn.apply(TurnEnd(turn_id="t", status="complete", text="The answer."), 2)
    assert (turn.answer.current, turn.reasoning) == ("The answer.", "hm")


def test_a_better_name_and_kind_replace_and_a_vague_one_does_not() -> None:
    turn = Turn(0.0)
    for event in (
        ToolEvent(turn_id="t", call_id="1", name="Look", kind="read"),
        ToolEvent(turn_id="t", call_id="1", name="Edit", kind="edit", input={}),
        ToolEvent(turn_id="t", call_id="1", name="", kind="other", summary=""),
        ToolEvent(turn_id="t", call_id="1", diff=[FileDiff(path="src/a.py", new="x = 1\n")]),
    ):
        turn.apply(event, 1)
    turn.apply(ToolEvent(turn_id="t", call_id="1", status="success", duration_ms=100), 1)
    shown = text(elements(card_of(view_running(turn, STYLE, 1)))["tools"])
    assert shown == "✅ ✏️ **Edit**: src/a.py _(0.1s)_\n```diff\nsrc/a.py\n+x = 1\n```"


def test_the_footer_mentions_that_nothing_new_comes() -> None:
    turn = Turn(0.0)
    style = msgspec.structs.replace(STYLE, stall_s=300.0)
    assert view_running(turn, style, 299).footer.endswith("4m 59s")
    assert view_running(turn, style, 301).footer == (
        "⏳ Processing... 5m 1s · nothing new for 5 min"
    )
    zh = msgspec.structs.replace(style, language="zh")
    assert view_running(turn, zh, 301).footer.endswith(" · 5 分钟没有新内容")


def test_typing_is_slower_where_updates_are_far_apart() -> None:
    steps = [
        card_of(view_running(Turn(0.0), STYLE.typed_every(seconds), 0))["config"][
            "streaming_config"
        ]["print_step"]["default"]
        for seconds in (0.2, 1.0, 3.0)
    ]
    assert steps == sorted(steps, reverse=True)
    assert len(set(steps)) == 3
    config = card_of(view_running(Turn(0.0), STYLE, 0))["config"]["streaming_config"]
    assert config["print_strategy"] == "fast"
    assert config["print_frequency_ms"] == {"default": 25}


def test_of_what_steps_gave_and_of_reasoning_the_latest_is_kept() -> None:
    turn = Turn(0.0)
    for number in range(20):
        turn.apply(Delta(turn_id="t", text=f"{number % 10}" * 5_000, channel="reasoning"), 1)
        turn.apply(
            ToolEvent(turn_id="t", call_id="1", output="o" * 9_000 + f"{number}", kind="execute"), 1
        )
    assert REASONING_CHARACTERS_MAX <= len(turn.reasoning) <= 2 * REASONING_CHARACTERS_MAX
    assert turn.reasoning.endswith("8" * 5_000 + "9" * 5_000)
    (step,) = turn.steps.values()
    assert step.output == "o" * (DETAIL_CHARACTERS_MAX - 2) + "19"


@pytest.mark.parametrize("tag", ["<at", "<AT", "</aT", "< at"])
def test_reasoning_mentions_nobody_in_any_case(tag: str) -> None:
    assert harmless(f"so {tag} id=all> ![x](y)") == f"so &#60;{tag[1:]} id=all> [x](y)"


def test_panels_are_made_smaller_a_few_times_and_no_more() -> None:
    styles = [STYLE]
    while (smaller := styles[-1].smaller()) is not None:
        styles.append(smaller)
    assert [style.level for style in styles] == [0, 1, 2, 3]
    assert styles[-1].session_id == STYLE.session_id


def test_a_step_is_one_line_also_where_there_is_no_card() -> None:
    step = ToolStep(call_id="1", name="Read*", kind="read", summary="a.py", status="success")
    assert tool_line(step).en == "✅ 📖 **Read&#42;**: a.py"
    rejected = ToolStep(call_id="1", name="Run", status="error", duration_ms=1_500, rejected=True)
    assert tool_line(rejected).en == "❌ 🔧 **Run** _(1.5s)_ _(rejected)_"
    assert tool_line(rejected).zh == "❌ 🔧 **Run** _(1.5s)_ _(已拒绝)_"


def test_a_turn_that_is_stopped_ends_at_that_moment() -> None:
    turn = Turn(1.0)
    turn.stop(6.5)
    assert (turn.state, turn.ended_at) == (TurnState.ABORTED, 6.5)
    turn.stop(9.0)
    assert turn.ended_at == 6.5, "the first end stands"


def test_the_title_stands_above_panels_and_answer() -> None:
    turn = Turn(0.0)
    assert turn.apply(Plan(turn_id="t", entries=[PlanEntry(content="a", status="pending")]), 1)
    stream(turn, "the answer")
    shown = elements(card_of(view_running(turn, msgspec.structs.replace(STYLE, title="Work"), 1)))
    assert list(shown)[:2] == ["title", "plan_panel"]
    assert shown["title"]["content"] == "**Work**"
