"""An ACP agent that does its worst by seed, and now and then answers as it should.

Standard library alone, written from the protocol.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from typing import Any

SESSION = "sess-1"
rng = random.Random(int(sys.argv[1]))


def line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write(message: dict[str, Any]) -> None:
    line(json.dumps({"jsonrpc": "2.0", **message}))


def update(kind: object, **fields: Any) -> None:
    params = {"sessionId": SESSION, "update": {"sessionUpdate": kind, **fields}}
    write({"method": "session/update", "params": params})


def ask_permission(number: Any, ids: list[Any]) -> None:
    options = [{"optionId": one, "name": "Reject", "kind": "allow_always"} for one in ids]
    params = {"sessionId": SESSION, "toolCall": {"toolCallId": "c", "title": "t"}}
    write(
        {
            "id": number,
            "method": "session/request_permission",
            "params": params | {"options": options},
        }
    )


def garbage(_number: int) -> None:
    for _ in range(200):
        line(rng.choice(("", "npm warn", "[1]", "null", "{", '{"id":1}', '"x"', "[" * 5_000)))


def huge_lines(_number: int) -> None:
    line("x" * 2_000_000)
    update("agent_message_chunk", content={"type": "text", "text": "y" * 1_000_000})


def errors_flood(_number: int) -> None:
    sys.stderr.write("noise " * 100_000 + "\n" + "a line\n" * 10_000)
    sys.stderr.flush()


def answers_twice(number: int) -> None:
    ids: tuple[Any, ...] = (number, number, 77, -1, "x", None, True, 1.5, {})
    for one in ids:
        write({"id": one, "result": {"stopReason": "end_turn"}})


def duplicate_options(number: int) -> None:
    for one in range(100):
        ask_permission(1_000 + one % 7, ["a", "a", 1, None])
    ask_permission("s", [])


def updates_flood(_number: int) -> None:
    for one in range(3_000):
        update("tool_call_update", toolCallId=f"c{one % 90}", title="t" * 300, status="in_progress")
        update("plan", entries=[{"content": "x", "status": "pending"}] * 20)


def odd_updates(_number: int) -> None:
    odd: list[Any] = [None, 7, [], {}, "x" * 10_000, [{}], {"a": [1]}, True]
    kinds = ["tool_call", "plan", "usage_update", "agent_message_chunk", "current_mode_update"]
    kinds += ["available_commands_update", "config_option_update", "session_info_update"]
    for _ in range(300):
        fields = ("content", "entries", "toolCallId", "rawInput", "status", "availableCommands")
        update(rng.choice([*kinds, *odd]), **{one: rng.choice(odd) for one in fields})
    write({"method": "session/update", "params": rng.choice(odd)})
    write({"method": rng.choice(odd[4:5]), "params": rng.choice(odd)})


def requests_flood(_number: int) -> None:
    for one in range(300):
        write({"id": one, "method": "fs/read_text_file", "params": {"path": "/etc/shadow"}})
        write({"id": one, "method": "terminal/create", "params": {"command": "rm"}})
        write({"id": one, "method": "fs/write_text_file", "params": {"path": "\0", "content": 1}})


def dies(_number: int) -> None:
    update("agent_message_chunk", content={"type": "text", "text": "half"})
    os._exit(rng.choice((0, 1, 3)))


def half_a_line(_number: int) -> None:
    sys.stdout.write('{"jsonrpc": "2.0", "meth')
    sys.stdout.flush()
    os._exit(2)


def sulks(_number: int) -> None:
    time.sleep(0.3)


ATTACKS = (
    garbage,
    huge_lines,
    errors_flood,
    answers_twice,
    duplicate_options,
    updates_flood,
    odd_updates,
    requests_flood,
    dies,
    half_a_line,
    sulks,
)


def main() -> None:
    while True:
        text = sys.stdin.readline()
        if not text:
            return
        message = json.loads(text)
        number, method = message.get("id"), message.get("method")
        if method == "initialize":
            write({"id": number, "result": {"protocolVersion": 1, "agentCapabilities": {}}})
        elif method == "session/new":
            write({"id": number, "result": {"sessionId": SESSION}})
        elif method == "session/prompt":
            rng.choice(ATTACKS)(number)
            update("agent_message_chunk", content={"type": "text", "text": "done"})
            write({"id": number, "result": {"stopReason": "end_turn"}})
        elif method is not None and number is not None:
            write({"id": number, "result": {}})


main()
