"""What an ACP agent sends becomes messages of the wire; what people send becomes its prompts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import __version__
from protocol.agents import acp
from protocol.agents.acp import Abilities
from protocol.wire import messages as wire
from tests.kit.json_values import json_values


def updates(kind: str, **fields: Any) -> list[acp.Update]:
    return list(acp.translate({"sessionUpdate": kind, **fields}, "t1"))


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


# ── what the two can do ──


@pytest.mark.parametrize("read_files", [True, False])
@pytest.mark.parametrize("write_files", [True, False])
def test_the_client_offers_the_files_it_may(read_files: bool, write_files: bool) -> None:
    assert acp.initialize_params(read_files=read_files, write_files=write_files) == {
        "protocolVersion": 1,
        "clientCapabilities": {
            "fs": {"readTextFile": read_files, "writeTextFile": write_files},
            "terminal": False,
            "elicitation": {"form": {}, "url": {}},
        },
        "clientInfo": {"name": "larkd", "title": "larkd", "version": __version__},
    }


def test_an_agent_that_can_everything() -> None:
    abilities = acp.read_abilities(
        {
            "agentCapabilities": {
                "loadSession": True,
                "sessionCapabilities": {"resume": {}, "list": {}},
                "promptCapabilities": {"image": True, "audio": True, "embeddedContext": True},
            },
            "authMethods": [{"id": "key", "name": "API key"}, {"id": "oauth"}, "odd"],
        }
    )
    assert abilities == Abilities(
        load_session=True,
        resume_session=True,
        list_sessions=True,
        images=True,
        sounds=True,
        embedded_context=True,
        auth_methods=("API key", "oauth"),
    )


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"agentCapabilities": "odd", "authMethods": "odd"},
        {
            "agentCapabilities": {
                "loadSession": "yes",
                "sessionCapabilities": {"resume": None},
                "promptCapabilities": {"image": 1, "audio": "yes", "embeddedContext": None},
            }
        },
    ],
)
def test_an_agent_that_offers_nothing_clear_can_nothing(result: dict[str, Any]) -> None:
    assert acp.read_abilities(result) == Abilities()


# ── from the agent ──


@pytest.mark.parametrize(
    ("kind", "channel"),
    [("agent_message_chunk", "answer"), ("agent_thought_chunk", "reasoning")],
)
def test_chunks_are_deltas_of_their_channel(kind: str, channel: Any) -> None:
    assert updates(kind, content=text("hi")) == [
        wire.Delta(turn_id="t1", text="hi", channel=channel)
    ]
    assert updates(kind, content=text("")) == []
    assert updates(kind) == []


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({"type": "text", "text": "a"}, "a"),
        ({"type": "resource_link", "title": "T", "name": "n", "uri": "u"}, "[T](u)"),
        ({"type": "resource_link", "name": "n", "uri": "u"}, "[n](u)"),
        ({"type": "resource_link", "uri": "u"}, "[link](u)"),
        ({"type": "resource", "resource": {"text": "inside"}}, "inside"),
        ({"type": "resource", "resource": "odd"}, ""),
        ({"type": "image", "data": "…"}, "[image]"),
        ({"type": "audio"}, "[audio]"),
        ({"type": "of a later version", "text": "a"}, ""),
        ({"type": "text", "text": 3}, ""),
        ("odd", ""),
        (None, ""),
    ],
)
def test_content_that_is_no_text_is_named(content: object, shown: str) -> None:
    assert acp.content_text(content) == shown


@pytest.mark.parametrize("kind", ["tool_call", "tool_call_update"])
def test_a_tool_call_is_a_step(kind: str) -> None:
    assert updates(kind, toolCallId="c", title="Read") == [
        wire.ToolEvent(turn_id="t1", call_id="c", name="Read")
    ]
    assert updates(kind, title="without an id") == []


def test_a_step_keeps_within_its_bound() -> None:
    (event,) = updates("tool_call", toolCallId="c", rawOutput="x" * 1_000_000)
    assert isinstance(event, wire.ToolEvent)
    assert event.output is not None
    assert len(event.output) < 100_000


def test_a_plan_and_its_odd_entries() -> None:
    assert updates(
        "plan",
        entries=[
            {"content": "a", "status": "completed"},
            {"content": "b", "status": "in_progress"},
            {"content": "c", "status": "of a later version"},
            {"content": 4},
            "odd",
        ],
    ) == [
        wire.Plan(
            turn_id="t1",
            entries=[
                wire.PlanEntry(content="a", status="completed"),
                wire.PlanEntry(content="b", status="in_progress"),
                wire.PlanEntry(content="c", status="pending"),
                wire.PlanEntry(content="", status="pending"),
            ],
        )
    ]
    assert updates("plan", entries="odd") == [wire.Plan(turn_id="t1", entries=[])]


def test_a_plan_is_bounded() -> None:
    (plan,) = updates("plan", entries=[{"content": "a"}] * (acp.PLAN_ENTRIES_MAX + 1))
    assert isinstance(plan, wire.Plan)
    assert len(plan.entries) == acp.PLAN_ENTRIES_MAX


@pytest.mark.parametrize(
    ("used", "read"), [(7, 7), (0, 0), (True, None), ("7", None), (None, None)]
)
def test_usage_is_whole_numbers(used: object, read: int | None) -> None:
    assert updates("usage_update", used=used, size=9) == [
        wire.Usage(turn_id="t1", used=read, size=9)
    ]
    assert updates("usage_update", used=9, size=used) == [
        wire.Usage(turn_id="t1", used=9, size=read)
    ]


@pytest.mark.parametrize("kind", ["user_message_chunk", "current_mode_update", "later", None])
def test_other_updates_mean_nothing_for_the_turn(kind: Any) -> None:
    assert updates(kind, content=text("hi")) == []


@pytest.mark.parametrize(
    ("update", "opens"),
    [
        ({"sessionUpdate": "agent_message_chunk", "content": text("a")}, True),
        ({"sessionUpdate": "agent_thought_chunk", "content": text("a")}, True),
        ({"sessionUpdate": "agent_message_chunk", "content": text("")}, False),
        ({"sessionUpdate": "agent_thought_chunk"}, False),
        ({"sessionUpdate": "tool_call"}, True),
        ({"sessionUpdate": "plan"}, True),
        ({"sessionUpdate": "tool_call_update"}, False),
        ({"sessionUpdate": "usage_update"}, False),
        ({}, False),
    ],
)
def test_what_an_agent_begins_by_itself(update: dict[str, Any], opens: bool) -> None:
    assert acp.opens_a_turn(update) is opens


@pytest.mark.parametrize(
    ("reason", "status", "error"),
    [
        ("end_turn", "complete", None),
        ("cancelled", "aborted", None),
        ("max_tokens", "error", "the agent stopped: its token limit was reached"),
        ("max_turn_requests", "error", "the agent stopped: its request limit was reached"),
        ("refusal", "error", "the agent refused to go on"),
        ("later", "error", "the agent stopped: later"),
        (None, "error", "the agent stopped: None"),
        ("x" * 200, "error", f"the agent stopped: {'x' * 100}"),
    ],
)
def test_why_a_prompt_ended(reason: object, status: Any, error: str | None) -> None:
    assert acp.ending(reason) == acp.Ending(status=status, error=error)


# ── permissions ──

ALLOW = {"optionId": "a", "name": "Allow", "kind": "allow_once"}
REJECT = {"optionId": "r", "kind": "reject_once"}


def asked(call: object = None, known: dict[str, Any] | None = None) -> acp.AcpQuestion:
    question = acp.read_question({"options": [ALLOW, REJECT], "toolCall": call}, known)
    assert question is not None
    return question


@pytest.mark.parametrize("kind", ["allow_once", "allow_always", "reject_once", "reject_always"])
def test_options_of_every_kind(kind: str) -> None:
    question = acp.read_question({"options": [{"optionId": "o", "name": "N", "kind": kind}]})
    assert question is not None
    assert question.options == [wire.PermissionOption(id="o", label="N", kind=kind)]  # type: ignore[arg-type]


def test_an_option_without_a_name_shows_its_id_and_odd_ones_are_left_out() -> None:
    question = acp.read_question(
        {
            "options": [
                "odd",
                {"name": "no id", "kind": "allow_once"},
                {"optionId": "x", "kind": "later"},
                REJECT,
            ]
        }
    )
    assert question is not None
    assert question.options == [wire.PermissionOption(id="r", label="r", kind="reject_once")]


@pytest.mark.parametrize("options", [None, [], "odd", [{"optionId": "x", "kind": "later"}]])
def test_without_a_choice_there_is_no_question(options: object) -> None:
    assert acp.read_question({"options": options, "toolCall": {"title": "Run"}}) is None


def test_options_are_bounded() -> None:
    many = [{"optionId": str(number), "kind": "allow_once"} for number in range(20)]
    question = acp.read_question({"options": many})
    assert question is not None
    assert [one.id for one in question.options] == [str(number) for number in range(8)]


@pytest.mark.parametrize(
    ("call", "detail"),
    [
        ({"rawInput": {"command": "make"}}, "make"),
        ({"rawInput": {"command": ["make", 3]}}, "make 3"),
        ({"rawInput": {"command": "", "cwd": "/w"}}, "command: \ncwd: /w"),
        ({"rawInput": {"url": "u", "depth": 2}}, "url: u\ndepth: 2"),
        ({"rawInput": "odd"}, None),
        ({"locations": [{"path": "/w/a"}]}, "/w/a"),
        (
            {
                "content": [{"type": "diff", "path": "a", "oldText": "1", "newText": "2"}],
                "rawInput": {"command": "no"},
            },
            "a\n- 1\n+ 2",
        ),
        ({"title": "x" * 301, "rawInput": {"command": "c"}}, "x" * 301 + "\nc"),
        ({"title": "x" * 300, "rawInput": {"command": "c"}}, "c"),
        (None, None),
    ],
)
def test_what_will_happen_is_shown(call: object, detail: str | None) -> None:
    assert asked(call).detail == detail


def test_the_title_is_bounded_and_never_empty() -> None:
    assert asked({"title": "x" * 301}).title == "x" * 300
    assert asked({}).title == "a tool call"


def test_what_was_reported_before_fills_what_the_question_leaves_out() -> None:
    question = asked(
        {"title": "", "rawInput": None, "kind": "execute"},
        {"title": "Run", "rawInput": {"command": "make"}, "kind": "other"},
    )
    assert question.title == "Run"
    assert question.detail == "make"
    assert question.call == {"title": "Run", "rawInput": {"command": "make"}, "kind": "execute"}


def test_what_is_too_long_to_show_is_not_asked() -> None:
    def of_size(size: int) -> acp.AcpQuestion | None:
        return acp.read_question(
            {"options": [ALLOW], "toolCall": {"rawInput": {"command": "x" * size}}}
        )

    assert of_size(acp.DETAIL_CHARACTERS_MAX) is not None
    assert of_size(acp.DETAIL_CHARACTERS_MAX + 1) is None


def verdict(option_id: str | None, outcome: Any = "selected") -> wire.PermissionVerdict:
    return wire.PermissionVerdict(request_id="q", outcome=outcome, option_id=option_id)


@pytest.mark.parametrize(
    ("answer", "ends", "sent"),
    [
        (None, True, {"outcome": "cancelled"}),
        (verdict("a", "cancelled"), True, {"outcome": "cancelled"}),
        (verdict(None), True, {"outcome": "cancelled"}),
        (verdict("r"), True, {"outcome": "selected", "optionId": "r"}),
        (verdict("unknown"), True, {"outcome": "selected", "optionId": "unknown"}),
        (verdict("a"), False, {"outcome": "selected", "optionId": "a"}),
    ],
)
def test_the_answer_to_a_question(
    answer: wire.PermissionVerdict | None, ends: bool, sent: dict[str, str]
) -> None:
    assert acp.rejects(asked(), answer) is ends
    assert acp.outcome(answer) == {"outcome": sent}


def test_a_rejected_call_ends_its_step() -> None:
    seed = wire.ToolEvent(turn_id="t1", call_id="c", name="Run", output="x")
    assert acp.rejected(seed) == wire.ToolEvent(
        turn_id="t1", call_id="c", status="error", error="rejected"
    )


# ── to the agent ──


@pytest.mark.parametrize(
    ("data", "details"),
    [
        ("why", ": why"),
        ({"details": "why", "message": "other"}, ": why"),
        ({"message": "other"}, ": other"),
        ({"details": 3}, ""),
        (None, ""),
        ("x" * 3_000, ": " + "x" * 2_000),
    ],
)
def test_a_failure_is_shown_with_its_reason(data: object, details: str) -> None:
    refused = acp.refusal_text(-32603, "Internal error", data, Abilities())
    assert refused == "the agent failed: Internal error" + details


@pytest.mark.parametrize(
    ("methods", "shown"),
    [(("API key", "", "oauth"), "API key, oauth"), ((), "see its documentation")],
)
def test_an_agent_that_wants_a_login_shows_how(methods: tuple[str, ...], shown: str) -> None:
    refused = acp.refusal_text(-32000, "auth", None, Abilities(auth_methods=methods))
    assert refused == f"the agent wants you to log in on its machine first ({shown})"


ODD = json_values("type", "text", "optionId", "kind", "toolCallId", "rawInput", "path")
KINDS = st.sampled_from(
    [
        "agent_message_chunk",
        "agent_thought_chunk",
        "tool_call",
        "tool_call_update",
        "plan",
        "usage_update",
    ]
)
FIELDS = st.sampled_from(["content", "entries", "used", "toolCallId", "rawInput", "locations"])


@given(KINDS, st.dictionaries(FIELDS, ODD))
def test_odd_updates_never_raise(kind: str, fields: dict[str, Any]) -> None:
    for update in acp.translate({**fields, "sessionUpdate": kind}, "t1"):
        assert update.turn_id == "t1"
    acp.opens_a_turn({**fields, "sessionUpdate": kind})


@given(st.dictionaries(st.sampled_from(["options", "toolCall"]), ODD))
def test_odd_questions_never_raise(params: dict[str, Any]) -> None:
    question = acp.read_question(params)
    assert question is None or question.options
