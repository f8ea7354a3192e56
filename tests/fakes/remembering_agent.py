"""An agent that speaks ACP and keeps its conversations in a directory: one file each.

``remembering_agent.py DIRECTORY [--lists] [--late] [--resumes] [--forgets]``. It answers each
prompt with the number of its conversation and what was written there before; ``die`` ends it, and
``wait PATH`` has it wait until that exists.
Standard library only, and written from the protocol alone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

STORE = Path(sys.argv[1])
OPTIONS = frozenset(sys.argv[2:])
MODES = [{"id": "ask", "name": "Ask"}, {"id": "plan", "name": "Plan"}]


def write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def send_text(session: str, text: str) -> None:
    content = {"type": "text", "text": text}
    update = {"sessionUpdate": "agent_message_chunk", "content": content}
    write({"method": "session/update", "params": {"sessionId": session, "update": update}})


def remembered(session: str) -> list[str]:
    lines: list[str] = json.loads((STORE / session).read_text())
    return lines


def initialize() -> dict[str, Any]:
    sessions: dict[str, Any] = {}
    if "--lists" in OPTIONS:
        sessions["list"] = {}
    if "--resumes" in OPTIONS:
        sessions["resume"] = {}
    able = {"loadSession": "--resumes" not in OPTIONS, "sessionCapabilities": sessions}
    return {"protocolVersion": 1, "agentCapabilities": able, "authMethods": []}


def listed(params: dict[str, Any]) -> dict[str, Any]:
    """List two a page, the oldest first."""
    files = sorted(STORE.glob("conv-*"), key=lambda one: one.stat().st_mtime_ns)
    at = int(params.get("cursor") or 0)
    page = [
        {
            "sessionId": one.name,
            "cwd": params.get("cwd") or os.getcwd(),  # noqa: PTH109  # as text
            "title": f"About {remembered(one.name)[0]}",
            "updatedAt": f"2026-11-20T10:00:{index:02}Z",
        }
        for index, one in enumerate(files)
    ]
    more = {"nextCursor": str(at + 2)} if len(page) > at + 2 else {}
    return {"sessions": page[at : at + 2], **more}


def load(session: str, number: object) -> None:
    if "--forgets" in OPTIONS or not (STORE / session).exists():
        error = {"code": -32002, "message": "Internal error", "data": {"details": "it is gone"}}
        write({"id": number, "error": error})
        return

    def replay() -> None:
        for line in remembered(session):
            send_text(session, f"replayed {line}")

    if "--late" in OPTIONS:
        threading.Timer(0.15, replay).start()
    elif "--resumes" not in OPTIONS:
        replay()
    write({"id": number, "result": {"modes": {"currentModeId": "ask", "availableModes": MODES}}})


def prompt(session: str, text: str) -> None:
    lines = [*(remembered(session) if (STORE / session).exists() else []), text]
    (STORE / session).write_text(json.dumps(lines))
    if text == "die":
        sys.stderr.write("dying as asked\n")
        sys.stderr.flush()
        os._exit(3)
    if text.startswith("wait "):
        while not Path(text.removeprefix("wait ")).exists():
            time.sleep(0.01)
    send_text(session, f"{session}: {', '.join(lines)}.")


def main() -> None:
    STORE.mkdir(exist_ok=True)
    for line in sys.stdin:
        message = json.loads(line)
        number, params = message.get("id"), message.get("params") or {}
        result: dict[str, Any] = {}
        match message.get("method"):
            case "initialize":
                result = initialize()
            case "session/new":
                session = f"conv-{len(list(STORE.glob('conv-*'))) + 1}"
                result = {
                    "sessionId": session,
                    "modes": {"currentModeId": "ask", "availableModes": MODES},
                }
            case "session/list":
                result = listed(params)
            case "session/load" | "session/resume":
                load(params["sessionId"], number)
                continue
            case "session/prompt":
                prompt(params["sessionId"], params["prompt"][0]["text"])
                result = {"stopReason": "end_turn"}
            case "session/set_mode":
                mode = {"sessionUpdate": "current_mode_update", "currentModeId": params["modeId"]}
                update = {"sessionId": params["sessionId"], "update": mode}
                write({"method": "session/update", "params": update})
        if number is not None:
            write({"id": number, "result": result})


main()
