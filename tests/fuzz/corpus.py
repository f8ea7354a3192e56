"""What really comes over each boundary, to begin with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from actors.feishu.frames import encode_frame
from protocol.platform.longconn import DATA, Frame

OPTIONS: Final = [
    {"id": "a", "label": "Allow", "kind": "allow_once"},
    {"id": "r", "label": "No", "kind": "reject_always"},
]
FROM_PROXY: Final[tuple[Mapping[str, Any], ...]] = (
    {"t": "ping", "n": 1},
    {"t": "pong", "n": 1},
    {
        "t": "register",
        "protocol": 1,
        "session_id": "s",
        "role": "session",
        "proof": "0" * 64,
        "nonce": b"n" * 32,
        "pid": 7,
        "proxy_version": "1",
        "metadata": {"cwd": "/w", "alias": "api"},
        "capabilities": ["turns", "cancel", "options"],
    },
    {"t": "ack", "event_id": "e", "attempt": 1},
    {"t": "delta", "turn_id": "turn_1", "text": "Hello", "channel": "answer"},
    {
        "t": "tool_event",
        "turn_id": "turn_1",
        "call_id": "c",
        "name": "Bash",
        "kind": "execute",
        "status": "running",
        "input": {"command": "ls"},
        "output": "x",
        "diff": [{"path": "/a", "old": "1", "new": "2"}],
    },
    {"t": "plan", "turn_id": "turn_1", "entries": [{"content": "x", "status": "pending"}]},
    {"t": "usage", "turn_id": "turn_1", "used": 1, "size": 2},
    {"t": "turn_end", "turn_id": "turn_1", "status": "error", "text": "t", "error": "e"},
    {"t": "turn_open", "turn_id": "own-1", "chat_id": "oc_1", "title": "t"},
    {
        "t": "offer",
        "options": [
            {
                "id": "m",
                "name": "Mode",
                "kind": "mode",
                "value": "a",
                "choices": [{"id": "a", "name": "A"}],
            }
        ],
        "commands": [{"name": "compact", "hint": "h"}],
    },
    {"t": "chosen", "n": 1, "ok": True},
    {"t": "tool", "id": 1, "name": "reply", "args": {"chat_id": "oc_1", "text": "t"}},
    {
        "t": "permission_request",
        "request_id": "r",
        "turn_id": "turn_1",
        "title": "Run",
        "detail": "rm -rf \u202e",
        "options": OPTIONS,
    },
    {"t": "permission_closed", "request_id": "r", "reason": "x"},
)


def _event(event_type: str, event: Any) -> dict[str, Any]:
    header = {"event_id": "5e37", "event_type": event_type, "create_time": "1608725989000"}
    return {"schema": "2.0", "header": header | {"app_id": "cli_1"}, "event": event}


def _message(message_type: str, content: Any) -> dict[str, Any]:
    message = {
        "message_id": "om_1",
        "chat_id": "oc_1",
        "chat_type": "group",
        "message_type": message_type,
        "content": json.dumps(content),
        "mentions": [{"key": "@_user_1", "id": {"open_id": "ou_bot"}, "name": "Bot"}],
        "parent_id": "om_0",
        "thread_id": "omt_1",
        "create_time": "1609073151345",
    }
    sender = {"sender_id": {"open_id": "ou_1"}, "sender_type": "user"}
    return _event("im.message.receive_v1", {"sender": sender, "message": message})


_POST: Final = [
    [{"tag": "text", "text": "a", "style": ["bold"]}, {"tag": "at", "user_id": "@_user_1"}],
    [{"tag": "img", "image_key": "img_1"}, {"tag": "a", "href": "http://x", "text": "t"}],
    [{"tag": "code_block", "language": "PYTHON", "text": "x = 1"}, {"tag": "hr"}],
]
EVENTS: Final[tuple[Mapping[str, Any], ...]] = (
    _message("text", {"text": "@_user_1 /new api ~/x"}),
    _message("post", {"title": "t", "content": _POST}),
    _message("image", {"image_key": "img_1"}),
    _message("file", {"file_key": "f", "file_name": "../../etc/x.pdf"}),
    _message("audio", {"file_key": "f", "duration": 2000}),
    _message("merge_forward", {}),
    _message("interactive", {"title": "t", "elements": _POST}),
    _event("im.message.recalled_v1", {"message_id": "om_1", "chat_id": "oc_1"}),
    _event(
        "drive.notice.comment_add_v1",
        {
            "comment_id": "c",
            "reply_id": "r",
            "is_mentioned": True,
            "notice_meta": {
                "file_type": "docx",
                "file_token": "d",
                "from_user_id": {"open_id": "ou_1"},
            },
        },
    ),
    _event(
        "card.action.trigger",
        {
            "operator": {"open_id": "ou_1"},
            "token": "c-1",
            "context": {"open_message_id": "om_1", "open_chat_id": "oc_1"},
            "action": {
                "tag": "button",
                "value": {"larkd": "approve", "request": "k", "option": "a", "signature": "s"},
                "form_value": {"choice_0": ["1"], "text_0": "x"},
            },
        },
    ),
    _event(
        "card.action.trigger",
        {
            "operator": {"open_id": "ou_1"},
            "context": {"open_message_id": "om_1", "open_chat_id": "oc_1"},
            "action": {
                "value": {
                    "larkd": "choose",
                    "session": "s",
                    "kind": "mode",
                    "choice": "a",
                    "chat": "oc_1",
                    "type": "p2p",
                }
            },
        },
    ),
)

_CALL: Final = {
    "toolCallId": "c",
    "title": "Write b.py",
    "kind": "edit",
    "status": "completed",
    "rawInput": {"command": "ls"},
    "rawOutput": {"output": "x"},
    "locations": [{"path": "/w/a.py", "line": 7}],
    "content": [
        {"type": "diff", "path": "/w/b", "oldText": "a", "newText": "b"},
        {"type": "content", "content": {"type": "text", "text": "t"}},
    ],
}
ACP: Final[tuple[Mapping[str, Any], ...]] = (
    {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "Hello"}},
    {"sessionUpdate": "agent_thought_chunk", "content": {"type": "resource", "resource": {}}},
    {"sessionUpdate": "tool_call", **_CALL},
    {"sessionUpdate": "tool_call_update", **_CALL},
    {"sessionUpdate": "plan", "entries": [{"content": "look", "status": "in_progress"}]},
    {"sessionUpdate": "usage_update", "used": 12_000, "size": 200_000},
    {"sessionUpdate": "current_mode_update", "currentModeId": "plan"},
    {"sessionUpdate": "available_commands_update", "availableCommands": [{"name": "x"}]},
    {
        "sessionUpdate": "config_option_update",
        "configOptions": [
            {
                "id": "model",
                "name": "Model",
                "category": "model",
                "type": "select",
                "currentValue": "a",
                "options": [{"value": "a", "name": "A"}],
            }
        ],
    },
    {
        "sessionId": "s",
        "modes": {"currentModeId": "ask", "availableModes": [{"id": "ask", "name": "Ask"}]},
        "models": {"currentModelId": "m", "availableModels": [{"modelId": "m", "name": "M"}]},
    },
    {
        "toolCall": _CALL,
        "options": [{"optionId": "a", "name": "Allow", "kind": "allow_once"}],
    },
    {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}, "authMethods": [{}]},
)
MCP: Final[tuple[Mapping[str, Any], ...]] = (
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "x"}},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
    {"jsonrpc": "2.0", "id": "a", "method": "tools/list"},
    {"jsonrpc": "2.0", "id": 2, "method": "ping", "params": {}},
    {
        "jsonrpc": "2.0",
        "id": 3,
        "method": "tools/call",
        "params": {"name": "reply", "arguments": {"chat_id": "oc_1", "text": "t", "files": ["/x"]}},
    },
    {
        "jsonrpc": "2.0",
        "method": "notifications/claude/channel/permission_request",
        "params": {
            "request_id": "abcde",
            "tool_name": "Bash",
            "description": "d",
            "input_preview": "{}",
        },
    },
)


def framed(message: Mapping[str, Any]) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


def long_connection() -> list[bytes]:
    headers = (
        ("type", "event"),
        ("message_id", "m"),
        ("sum", "2"),
        ("seq", "0"),
        ("trace_id", "t"),
    )
    return [
        encode_frame(Frame(service=1, method=DATA, headers=headers, payload=b'{"schema":"2.0"}')),
        encode_frame(Frame(service=1, method=0, headers=(("type", "pong"),), payload=b"{}")),
        encode_frame(Frame(seq_id=9, log_id=2**40, service=1, method=DATA, log_id_new="x")),
    ]
