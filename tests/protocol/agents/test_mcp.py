"""The channel server of an MCP session: what it is, what it shows, what it reads."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import __version__
from protocol.agents import mcp, starting
from protocol.wire import messages as wire


def deliver(**fields: Any) -> wire.Deliver:
    return wire.Deliver(
        **{
            "event_id": "e",
            "turn_id": "t",
            "attempt": 1,
            "lease_epoch": 1,
            "chat_id": "oc_1",
            "content": "hello",
            "meta": {},
            **fields,
        }
    )


def meta_of(**fields: Any) -> dict[str, str]:
    message = mcp.channel_notification(deliver(**fields))
    assert message["method"] == "notifications/claude/channel"
    assert "id" not in message
    meta: dict[str, str] = message["params"]["meta"]
    return meta


# ── what the server is ──


@pytest.mark.parametrize(
    ("wanted", "agreed"),
    [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        (None, "2025-11-25"),
        (["odd"], "2025-11-25"),
    ],
)
def test_a_revision_both_know_is_agreed_to(wanted: object, agreed: str) -> None:
    result = mcp.initialize_result({"protocolVersion": wanted})
    assert result["protocolVersion"] == agreed
    assert result["serverInfo"] == {"name": "feishu", "version": __version__}
    assert result["capabilities"] == {
        "tools": {},
        "experimental": {"claude/channel": {}, "claude/channel/permission": {}},
    }
    assert "reply tool" in result["instructions"]


def test_every_tool_has_a_schema_and_is_always_loaded() -> None:
    assert {tool["name"] for tool in mcp.TOOLS} == mcp.TOOL_NAMES
    for tool in mcp.TOOLS:
        schema = tool["inputSchema"]
        assert tool["description"]
        assert schema["type"] == "object"
        assert set(schema["required"]) <= set(schema["properties"])
        assert tool["_meta"] == {"anthropic/alwaysLoad": True}
        for described in schema["properties"].values():
            assert described["type"] in {"string", "object", "array", "integer", "boolean"}


@pytest.mark.parametrize(
    ("name", "required", "optional"),
    [
        ("reply", {"chat_id", "text"}, {"message_id", "files"}),
        ("send", {"to", "text"}, {"files"}),
        ("ask", {"chat_id", "questions"}, {"message_id"}),
        ("react", {"message_id", "emoji"}, set()),
        ("edit_message", {"message_id", "text"}, set()),
        ("inbox", set(), {"limit"}),
        ("feishu_channel_status", set(), set()),
        ("feishu_channel_grant", set(), {"session_id", "match"}),
        ("feishu_channel_acquire", set(), {"session_id", "match"}),
        ("feishu_channel_return_to_dispatcher", set(), set()),
        ("feishu_channel_reclaim", set(), {"chats"}),
        ("feishu_channel_doctor", set(), {"verbose"}),
    ],
)
def test_what_a_tool_takes(name: str, required: set[str], optional: set[str]) -> None:
    (schema,) = [tool["inputSchema"] for tool in mcp.TOOLS if tool["name"] == name]
    assert set(schema["required"]) == required
    assert set(schema["properties"]) == required | optional


def test_a_result_is_text_or_json_one_can_read() -> None:
    assert mcp.tool_result("done") == {
        "content": [{"type": "text", "text": "done"}],
        "isError": False,
    }
    shown = mcp.tool_result({"a": 1}, is_error=True)
    assert shown["content"][0]["text"] == '{\n  "a": 1\n}'
    assert shown["isError"] is True
    assert shown["content"][0]["text"] == '{\n  "a": 1\n}'


# ── messages ──


def test_a_message_is_its_content_and_its_meta() -> None:
    assert mcp.channel_notification(deliver(meta={"chat_id": "oc_1", "sender": "Ada"})) == {
        "jsonrpc": "2.0",
        "method": "notifications/claude/channel",
        "params": {"content": "hello", "meta": {"chat_id": "oc_1", "sender": "Ada"}},
    }


def test_keys_that_are_no_attributes_and_the_name_of_the_server_are_left_out() -> None:
    odd = {"a-b": "1", "A": "1", "": "1", "a b": "1", "1a": "1", "a\n": "1", "source": "other"}
    assert meta_of(meta={**odd, "_a1": "x"}) == {"_a1": "x"}


@pytest.mark.parametrize(("attempt", "shown"), [(1, None), (2, "2"), (7, "7")])
def test_only_a_second_attempt_is_named(attempt: int, shown: str | None) -> None:
    assert meta_of(attempt=attempt).get("attempt") == shown


def test_attachments_are_numbered_and_their_names_scrubbed() -> None:
    meta = meta_of(
        attachments=[
            wire.Attachment(kind="file", file_key="f", name='a"><x>\r\n[b];c ', path="/w/a"),
            wire.Attachment(kind="image", file_key="f", name="b", path=None),
        ]
    )
    assert meta == {
        "attachment_1_kind": "file",
        "attachment_1_name": 'a" x b c',
        "attachment_1_path": "/w/a",
        "attachment_2_kind": "image",
        "attachment_2_name": "b",
    }


@given(st.text())
def test_no_name_of_a_file_ends_the_tag(name: str) -> None:
    shown = meta_of(attachments=[wire.Attachment(kind="file", file_key="f", name=name, path=None)])[
        "attachment_1_name"
    ]
    assert not set(shown) & set("<>[]\r\n;")


# ── permissions ──


def asked(**params: Any) -> wire.PermissionRequest:
    request = mcp.permission_request({"request_id": "abcde", **params})
    assert request is not None
    return request


def test_a_permission_is_asked_with_allow_and_deny() -> None:
    assert asked(
        tool_name="Bash", description="Run tests", input_preview="make"
    ) == wire.PermissionRequest(
        request_id="abcde",
        turn_id=None,
        title="Bash: Run tests",
        detail="make",
        options=[
            wire.PermissionOption(id="allow", label="Allow", kind="allow_once"),
            wire.PermissionOption(id="deny", label="Deny", kind="reject_once"),
        ],
    )


@pytest.mark.parametrize(
    ("params", "title"),
    [
        ({}, "a tool"),
        ({"tool_name": ""}, "a tool"),
        ({"tool_name": 3, "description": 4}, "a tool"),
        ({"tool_name": "Bash", "description": ""}, "Bash"),
        ({"description": "Run"}, "a tool: Run"),
    ],
)
def test_a_permission_that_names_little(params: dict[str, Any], title: str) -> None:
    assert asked(**params).title == title


@pytest.mark.parametrize("preview", [None, "", 3, {"a": 1}])
def test_a_permission_without_a_preview(preview: object) -> None:
    assert asked(input_preview=preview).detail is None


@pytest.mark.parametrize("request_id", [None, "", 3])
def test_what_cannot_be_answered_is_not_asked(request_id: object) -> None:
    assert mcp.permission_request({"request_id": request_id, "tool_name": "Bash"}) is None


@pytest.mark.parametrize(
    ("option_id", "behavior"),
    [("allow", "allow"), ("deny", "deny"), ("other", "deny"), ("", "deny")],
)
def test_only_allow_allows(option_id: str, behavior: str) -> None:
    assert mcp.permission_notification("abcde", option_id) == {
        "jsonrpc": "2.0",
        "method": "notifications/claude/channel/permission",
        "params": {"request_id": "abcde", "behavior": behavior},
    }


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("y abcde", ("abcde", "allow")),
        ("YES ABCDE", ("abcde", "allow")),
        ("  n\tabcde \n", ("abcde", "deny")),
        ("No abcde", ("abcde", "deny")),
        ("y abcdl", None),  # ids have no l, which reads like 1
        ("y abcd", None),
        ("y abcdef", None),
        ("yabcde", None),
        ("yep abcde", None),
        ("please y abcde", None),
        ("", None),
    ],
)
def test_an_answer_that_was_typed(text: str, read: tuple[str, str] | None) -> None:
    assert mcp.verdict_words(text) == read


# ── who the session is ──


@pytest.mark.parametrize(
    ("environment", "role"),
    [
        ({}, "session"),
        ({"LARKD_ROLE": ""}, "session"),
        ({"LARKD_ROLE": "session"}, "session"),
        ({"LARKD_ROLE": "dispatcher"}, "dispatcher"),
    ],
)
def test_the_role_comes_from_the_environment(environment: dict[str, str], role: str) -> None:
    assert mcp.role_of(environment) == role


def test_an_unknown_role_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        ValueError, match=r"^LARKD_ROLE is 'boss'; it must be dispatcher or session$"
    ):
        mcp.role_of({"LARKD_ROLE": "boss"})


@pytest.mark.parametrize(
    ("environment", "session_id"),
    [
        ({"LARKD_SESSION_ID": "api", "CLAUDE_CODE_SESSION_ID": "x"}, "session-api"),
        ({"CLAUDE_CODE_SESSION_ID": "0f-1"}, "session-0f-1"),
        ({"LARKD_SESSION_ID": "a b/ü:.c_"}, "session-a-b--:.c_"),
        ({"LARKD_SESSION_ID": "x" * 200}, "session-" + "x" * 120),
    ],
)
def test_a_session_is_known_by_its_name(environment: dict[str, str], session_id: str) -> None:
    assert mcp.session_id_of("session", environment, "/w") == session_id


def test_a_session_without_a_name_is_known_by_its_role_and_directory() -> None:
    digest = hashlib.sha256(b"session\0/w").hexdigest()[:16]
    assert mcp.session_id_of("session", {}, "/w") == f"session-{digest}"
    others = {
        mcp.session_id_of("session", {}, "/w"),
        mcp.session_id_of("session", {}, "/v"),
        mcp.session_id_of("dispatcher", {}, "/w"),
    }
    assert len(others) == 3
    assert all(re.fullmatch(r"(session|dispatcher)-[0-9a-f]{16}", one) for one in others)


@pytest.mark.parametrize(
    ("environment", "metadata"),
    [
        ({}, {}),
        ({"LARKD_TEAMMATE_NAME": "a", "CLAUDEMUX_TEAMMATE_NAME": "b"}, {"teammate_name": "a"}),
        ({"CLAUDEMUX_TEAMMATE_NAME": "b"}, {"teammate_name": "b"}),
        ({"LARKD_TEAMMATE_NAME": "x" * 2_000}, {"teammate_name": "x" * 1_024}),
    ],
)
def test_how_a_session_describes_itself(
    environment: dict[str, str], metadata: dict[str, str]
) -> None:
    assert mcp.metadata_of(environment, "/w") == {"agent": "claude", "cwd": "/w", **metadata}


# ── how its start is reported ──


@pytest.mark.parametrize(
    "report", [starting.ReportReady(alias="a"), starting.ReportFailed(why="b\nc")]
)
def test_a_report_is_one_line_that_reads_back(report: starting.Report) -> None:
    line = starting.encode(report)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert starting.decode(line) == report
    assert json.loads(line)["type"] in {"ready", "failed"}


@pytest.mark.parametrize("line", [b"", b"npm notice", b"{}", b'{"type":"other"}', b"\xff"])
def test_what_an_agent_prints_is_no_report(line: bytes) -> None:
    assert starting.decode(line) is None
