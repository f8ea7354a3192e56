"""``larkd pair``: who was let in beside the configuration, from the keyboard."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

from actors.cli import terminal
from actors.cli.operator import Declined, ask
from actors.cli.output import Output, as_asked, as_json
from actors.host.advice import command_for
from protocol.config.places import StateDir
from protocol.routing.pairing import CODE_VALID_MS
from protocol.wire import operating

_MS_PER_MINUTE = 60_000


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Do what was asked; return what to print.

    Raises:
        Declined: no such code, or nothing to revoke; nothing has changed.
        Unavailable: no daemon serves the directory, or it does not answer.
        ConfigurationError: the dispatcher's token can't be used.
    """
    match parsed.action:
        case "approve":
            done = str(_call(state, operating.PAIR_APPROVE, {"code": parsed.code}))
            return as_asked(parsed, done, {"result": done})
        case "revoke":
            done = str(_call(state, operating.PAIR_REVOKE, {"subject": parsed.subject}))
            return as_asked(parsed, done, {"result": done})
    found = _call(state, operating.PAIR_LIST, {})
    if parsed.json:
        return Output(as_json({"accounts": found}))
    lines = as_lines(found, time.time_ns() // 1_000_000)
    limit = terminal.columns()
    return Output(terminal.fitted(lines, limit))


def _call(state: StateDir, tool: str, args: Mapping[str, Any]) -> Any:
    answer = ask(state, tool, args, role="dispatcher")
    if not answer.ok:
        reason, listed = (
            answer.error or "refused without a reason",
            command_for(state, "pair", "list"),
        )
        raise Declined(f"{reason}; who waits and who was let in: {listed}")
    return answer.result


def as_lines(found: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    """The answer of every account's intake as lines for a terminal."""
    for account, book in found.items():
        yield f"account {account}"
        for request in book["pending"]:
            left_ms = request["made_at"] + CODE_VALID_MS - now_ms
            minutes = max(0, -(-left_ms // _MS_PER_MINUTE))
            who = _named(request.get("name"), request["open_id"])
            if request["kind"] == "group":
                group = _named(request.get("chat_name"), request["chat_id"])
                who = f"group {group}, asked by {who}"
            yield f"  {request['code']}  {who}, {minutes} min left"
        if not book["pending"]:
            yield "  no code is waiting"
        admins = set(book["admins"])
        names = book.get("names") or {}
        for user in book["users"]:
            who = _named(names.get(user), user)
            yield f"  paired {who}{' (admin)' if user in admins else ''}"
        for group in book["groups"]:
            yield f"  paired group {_named(names.get(group), group)}"


def _named(name: str | None, subject: str) -> str:
    """The name people know, and the id that commands take."""
    return f"{name} ({subject})" if name else subject
