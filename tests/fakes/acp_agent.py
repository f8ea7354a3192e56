"""An agent that speaks ACP over stdio and does what the prompt's first word names.

Standard library only, blocking, and written from the protocol alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

SESSION = "sess-1"


def write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(session_update: str, /, **fields: Any) -> None:
    params = {"sessionId": SESSION, "update": {"sessionUpdate": session_update, **fields}}
    write({"method": "session/update", "params": params})


def send_text(text: str) -> None:
    update("agent_message_chunk", content={"type": "text", "text": text})


def read() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    message: dict[str, Any] = json.loads(line)
    return message


def ask(method: str, **params: Any) -> dict[str, Any]:
    """Make a request of the client and wait for its answer."""
    write({"id": 0, "method": method, "params": {"sessionId": SESSION, **params}})
    while True:
        message = read()
        if "method" not in message:
            return message


def wait_cancel() -> None:
    while read().get("method") != "session/cancel":
        pass


def hello(_args: list[str]) -> str:
    update("agent_thought_chunk", content={"type": "text", "text": "let me see"})
    update("some_future_update", what="ever")
    update("plan", entries=[{"content": "look", "status": "in_progress", "priority": "high"}])
    update(
        "tool_call",
        toolCallId="c1",
        title="Read a.py",
        kind="read",
        status="pending",
        locations=[{"path": "/w/a.py", "line": 7}],
    )
    update("tool_call_update", toolCallId="c1", status="completed")
    update("usage_update", used=12_000, size=200_000)
    for word in ("Hello ", "", "there."):
        send_text(word)
    return "end_turn"


def hang(_args: list[str]) -> str:
    send_text("working")
    wait_cancel()
    return "cancelled"


def late(_args: list[str]) -> str:
    send_text("working")
    wait_cancel()
    send_text("too late")
    return "end_turn"


def deaf(_args: list[str]) -> str:
    """Ignores what it is asked, and leaves a child that does too."""
    ignoring = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(300)"
    child = subprocess.Popen([sys.executable, "-c", ignoring])
    send_text(f"pids {os.getpid()} {child.pid}")
    while True:
        time.sleep(1)


def crash(_args: list[str]) -> str:
    send_text("half")
    sys.stderr.write("a line\nfatal: key=" + os.environ.get("THE_KEY", "none") + " is wrong\n")
    sys.stderr.flush()
    os._exit(3)


def rubbish(_args: list[str]) -> str:
    sys.stdout.write("npm warn deprecated\n[1, 2]\n\n" + "x" * 100_000 + "\n")
    write({"method": "session/update"})
    write({"method": "session/update", "params": {"sessionId": SESSION, "update": 3}})
    update("tool_call", title="without an id")
    update("plan", entries=[{"content": "odd", "status": "odd"}, 7])
    write({"id": 77, "result": {}})
    send_text("still fine")
    return "end_turn"


def question(_args: list[str]) -> str:
    answer = ask(
        "session/request_permission",
        toolCall={"toolCallId": "c2", "title": "Run it", "rawInput": {"command": "rm -rf build"}},
        options=[
            {"optionId": "a", "name": "Allow", "kind": "allow_once"},
            {"optionId": "r", "name": "Reject", "kind": "reject_once"},
            {"optionId": "odd", "name": "Odd", "kind": "who knows"},
        ],
    )
    send_text("outcome " + json.dumps(answer["result"]["outcome"], sort_keys=True))
    return "end_turn"


def files(args: list[str]) -> str:
    wrote = ask("fs/write_text_file", path=args[0], content="one\ntwo\nthree\n")
    got = ask("fs/read_text_file", path=args[0], line=2, limit=1)
    outside = ask("fs/read_text_file", path="/etc/hostname")
    terminal = ask("terminal/create", command="ls")
    blocks = [
        wrote.get("result", wrote.get("error")),
        got.get("result", got.get("error")),
        outside.get("error", {}).get("message", outside),
        terminal.get("error", {}).get("code"),
    ]
    send_text(json.dumps(blocks))
    return "end_turn"


def tokens(_args: list[str]) -> str:
    return "max_tokens"


def wake(_args: list[str]) -> str:
    """Goes on by itself after the end: see ``after``."""
    send_text("asleep")
    return "end_turn"


def after() -> None:
    time.sleep(0.3)
    update("tool_call", toolCallId="w1", title="Build", kind="execute", rawInput={})
    options = [{"optionId": "go", "name": "Go", "kind": "allow_once"}]
    answer = ask("session/request_permission", toolCall={"toolCallId": "w1"}, options=options)
    send_text("awake " + json.dumps(answer["result"]["outcome"], sort_keys=True))


def writes(_args: list[str]) -> str:
    """Describes a call in its permission request alone, as some agents do."""
    call = {
        "toolCallId": "e1",
        "title": "Write b.py",
        "kind": "edit",
        "content": [{"type": "diff", "path": "/w/b.py", "oldText": "a\n", "newText": "bee\n"}],
    }
    options = [{"optionId": "no", "name": "No", "kind": "reject_once"}]
    ask("session/request_permission", toolCall=call, options=options)
    update(
        "tool_call_update",
        toolCallId="x1",
        title="Run",
        kind="execute",
        status="failed",
        content=[{"type": "content", "content": {"type": "text", "text": "exit code 7"}}],
    )
    return "end_turn"


def fragile(_args: list[str]) -> str:
    """Dies of whatever it is asked next, without a word."""
    send_text("fragile")
    return "end_turn"


def nested(args: list[str]) -> str:
    """Starts an MCP server of its own, by its configuration, and calls one tool."""
    import threading  # noqa: PLC0415  # this alone needs it

    server = subprocess.Popen(
        [sys.executable, "-m", "actors.cli", "mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin
    assert server.stdout

    def call(number: int, method: str, **params: Any) -> dict[str, Any]:
        assert server.stdin
        assert server.stdout
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        server.stdin.write(json.dumps(message) + "\n")
        server.stdin.flush()
        while True:
            answer: dict[str, Any] = json.loads(server.stdout.readline())
            if answer.get("id") == number:
                return answer["result"]  # type: ignore[no-any-return]

    call(1, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={})
    server.stdin.write(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}) + "\n")
    name, given = args[0], json.loads(" ".join(args[1:]) or "{}")
    watchdog = threading.Timer(20, server.kill)
    watchdog.start()
    text = ""
    for number in range(2, 200):
        text = call(number, "tools/call", name=name, arguments=given)["content"][0]["text"]
        if "not reachable" not in text:
            break
        time.sleep(0.05)
    watchdog.cancel()
    server.stdin.close()
    server.wait()
    send_text(f"nested: {text}")
    return "end_turn"


PROMPTS = {
    one.__name__: one
    for one in (
        nested,
        fragile,
        wake,
        writes,
        hello,
        hang,
        late,
        deaf,
        crash,
        rubbish,
        question,
        files,
        tokens,
    )
}


def main() -> None:
    runs = 0
    word = ""
    while True:
        message = read()
        number, method = message.get("id"), message.get("method")
        result: dict[str, Any] = {}
        if method in ("session/new", "session/load") and "ACP_LOG" in os.environ:
            with open(os.environ["ACP_LOG"], "a") as log:  # noqa: PTH123  # standard library alone
                log.write(f"{method}\n")
        match method:
            case "initialize":
                given = dict(one.split("=", 1) for one in sys.argv[1:] if "=" in one)
                while "--waits-for" in given and not os.path.exists(given["--waits-for"]):  # noqa: PTH110  # standard library alone
                    time.sleep(0.02)
                if "--dies" in sys.argv:
                    sys.stderr.write("".join(f"earlier {number}\n" for number in range(20)))
                    raise RuntimeError("no <at user_id=all> model")
                if "--needs-login" in sys.argv:
                    error = {"code": -32000, "message": "Authentication required"}
                    write({"id": number, "error": error})
                    continue
                can_load = "--loads" in sys.argv
                result = {
                    "protocolVersion": 1,
                    "agentCapabilities": {
                        "loadSession": can_load,
                        "promptCapabilities": {"image": True},
                    },
                    "authMethods": [{"id": "login", "name": "Log in with a browser"}],
                }
            case "session/new":
                result = {"sessionId": SESSION}
                if "--modes" in sys.argv:
                    modes = [{"id": "ask", "name": "Ask"}, {"id": "plan", "name": "Plan"}]
                    result["modes"] = {"currentModeId": "ask", "availableModes": modes}
            case "session/set_mode":
                send_mode = message["params"]["modeId"]
                update("current_mode_update", currentModeId=send_mode)
            case "session/load":
                send_text("replayed history, not to be shown")
            case "session/prompt" if word == "fragile":
                os._exit(9)
            case "session/prompt":
                runs += 1
                blocks = message["params"]["prompt"]
                word, *args = blocks[0]["text"].split()
                if word == "blocks":
                    kinds = [block["type"] for block in blocks]
                    send_text(f"blocks {kinds} run {runs}")
                    result = {"stopReason": "end_turn"}
                else:
                    result = {"stopReason": PROMPTS[word](args)}
            case "session/cancel":
                continue
        if method == "session/new" and "--commands" in sys.argv:
            # In one piece, as some agents do: who reads it has not used the new id yet.
            commands = [{"name": "compact", "description": "Make it short"}]
            offer = {"sessionUpdate": "available_commands_update", "availableCommands": commands}
            params = {"sessionId": SESSION, "update": offer}
            both = (
                {"jsonrpc": "2.0", "id": number, "result": result},
                {"jsonrpc": "2.0", "method": "session/update", "params": params},
            )
            sys.stdout.write("".join(json.dumps(one) + "\n" for one in both))
            sys.stdout.flush()
        elif number is not None:
            write({"id": number, "result": result})
        if method == "session/prompt" and word == "wake":
            after()


main()
