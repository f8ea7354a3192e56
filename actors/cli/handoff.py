"""``larkd handoff``: the channel given, taken back or granted by a person at the keyboard."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final

from actors.cli.operator import Declined, ask
from actors.cli.output import Output, as_json
from actors.cli.status import fetch
from actors.host.advice import command_for
from protocol.config.places import StateDir
from protocol.routing import channel_tools

TOOLS: Final[Mapping[str, str]] = {
    "grant": channel_tools.GRANT,
    "acquire": channel_tools.ACQUIRE,
    "return": channel_tools.RETURN,
    "reclaim": channel_tools.RECLAIM,
}


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Do what was asked; return the daemon's answer.

    Raises:
        Declined: the daemon declined; nothing has changed.
        Unavailable: no daemon serves the directory, or it does not answer.
        ConfigurationError: the dispatcher's token can't be used.
    """
    answer = ask(state, TOOLS[parsed.action], _arguments(state, parsed), role="dispatcher")
    if not answer.ok:
        reason = answer.error or "refused without a reason"
        raise Declined(f"{reason}\n{_remedy(state, parsed.action)}")
    text = str(answer.result)
    return Output(as_json({"result": text}) if parsed.json else text)


def _remedy(state: StateDir, action: str) -> str:
    """Return a line of its own: the daemon's words are those that agents get, too."""
    if action in ("grant", "acquire"):
        return f"the sessions there are: {command_for(state, 'status')}"
    choose = command_for(state, "handoff", "acquire", "SESSION")
    return f"start a session with LARKD_ROLE=dispatcher, or choose one: {choose}"


def _arguments(state: StateDir, parsed: argparse.Namespace) -> dict[str, Any]:
    match parsed.action:
        case "grant" | "acquire":
            if parsed.match:
                return {"match": dict(parsed.match)}
            return {"session_id": parsed.session_id or _by_alias(fetch(state), parsed.session)}
        case "reclaim" if parsed.chats:
            return {"chats": True}
    return {}


def _by_alias(status: Mapping[str, Any], named: str) -> str:
    """Return the id of the session *named*; ids come before aliases."""
    sessions = status["sessions"]
    if not any(session["sessionId"] == named for session in sessions):
        for session in sessions:
            if session["alias"] == named.lower():
                return str(session["sessionId"])
    return named
