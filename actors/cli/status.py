"""``larkd status``: the state of the running daemon, for people and for scripts."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from actors.cli import terminal
from actors.cli.operator import Unavailable, ask
from actors.cli.output import Output
from actors.cli.output import as_json as to_json
from actors.host.advice import at_home
from protocol import foreign
from protocol.config.places import StateDir
from protocol.ids import PlaceKey, split_place
from protocol.routing import channel_tools
from protocol.wire import operating, vocabulary

_MS: Final = 1000
BUDGETS_MAX: Final = 3
"""Lines: the fullest endpoints."""
ID: Final = 2
"""The column with the id of a chat that has a name: it gives way first."""


def fetch(state: StateDir) -> dict[str, Any]:
    """Return the map of ``feishu_channel_status``.

    Raises:
        Unavailable: no daemon serves the directory, or it does not answer.
        ConfigurationError: the observer's token can't be used.
    """
    answer = ask(state, channel_tools.STATUS, role="observer")
    if not answer.ok or not isinstance(answer.result, dict):
        raise Unavailable(f"larkd refused its status: {answer.error or 'no map'}")
    return answer.result


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Return the status as people or scripts want it.

    Raises:
        Unavailable: no daemon serves the directory, or it does not answer.
        ConfigurationError: the observer's token can't be used.
    """
    found = with_progress(state, fetch(state))
    return Output(as_json(found) if parsed.json else as_text(found))


def with_progress(state: StateDir, status: Mapping[str, Any]) -> dict[str, Any]:
    """Add what goes on: who is at a turn since when, which chats wait, cards and budgets.

    A daemon of another version may not answer that; then the status stays as it is.

    Raises:
        ConfigurationError: the observer's token can't be used.
    """
    try:
        answer = ask(state, operating.OVERVIEW, role="observer")
    except Unavailable:
        return dict(status)  # it has gone since it answered its status
    if not answer.ok or not isinstance(answer.result, dict):
        return dict(status)
    found: dict[str, Any] = answer.result
    listed = [foreign.mapping(one) for one in status.get("sessions") or ()]
    runs_turns = {one.get("sessionId") for one in listed if _runs_turns(one)}
    turns: dict[str, Mapping[str, Any]] = {}
    for turn in found.pop("turns", ()):
        # What a channel session has not answered is no turn.
        if turn["seen_by"] == "card" or turn["session_id"] in runs_turns:
            turns.setdefault(turn["session_id"], turn)
    sessions = []
    for one in listed:
        turn = turns.get(str(one.get("sessionId")), {})
        at = {"account": turn.get("account"), "chat_id": turn.get("chat_id")} if turn else None
        sessions.append({**one, "turn_since": turn.get("since"), "turn_chat": at})
    return {**status, **found, "sessions": sessions}


def _runs_turns(session: Mapping[str, Any]) -> bool:
    return vocabulary.CAPABILITY_TURNS in (session.get("capabilities") or ())


def as_json(status: Mapping[str, Any]) -> str:
    """The status with every key in snake_case; ids and metadata stay as they were given."""
    sessions = [_in_snake_case(one) for one in foreign.mappings(status.get("sessions"))]
    return to_json({**status, "sessions": sessions})


def _in_snake_case(session: Mapping[str, Any]) -> dict[str, Any]:
    return {
        re.sub(r"[A-Z]", lambda upper: "_" + upper[0].lower(), k): v for k, v in session.items()
    }


def as_text(
    status: Mapping[str, Any], now_ms: int | None = None, columns: int | None = None
) -> str:
    """The status as lines for a terminal, none longer than *columns*."""
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    limit = terminal.columns() if columns is None else columns
    lines = _lines(status, now, limit)
    return terminal.fitted(lines, limit)


def _lines(status: Mapping[str, Any], now_ms: int, columns: int) -> Iterator[str]:
    daemon = foreign.mapping(status.get("daemon"))
    since = _ago(daemon.get("started_at"), now_ms)
    yield (
        f"larkd {daemon.get('version', '?')}   pid {daemon.get('pid', '?')},"
        f" start {daemon.get('generation', '?')}, up {since}"
    )
    yield from _cluster_lines(daemon, status.get("standbys"))
    yield "connections"
    for account, state in foreign.mapping(status.get("connection")).items():
        about = foreign.mapping(state)
        line = f"  {account}: {about.get('state', '?')}"
        if about.get("last_event_at") is not None:
            line += f", last event {_ago(about['last_event_at'], now_ms)} ago"
        if about.get("last_error"):
            line += f", last error: {about['last_error']}"
        yield line
        for reason, count in foreign.mapping(about.get("refused")).items():
            yield f"    refused {count}: {reason}"
    yield "channel"
    yield f"  owner       {status.get('owner_session_id') or '-'}"
    yield f"  dispatcher  {status.get('dispatcher_session_id') or '-'}"
    yield f"  granted     {status.get('granted_session_id') or '-'}"
    target = status.get("effective_target_session_id")
    yield f"  goes to     {target or '- (nobody; messages wait)'}"
    yield f"  epoch       {status.get('lease_epoch', '?')}"
    yield from _queue_lines(foreign.mapping(status.get("queue")), now_ms)
    waiting = [foreign.mapping(chat) for chat in status.get("waiting_chats") or ()]
    if waiting:
        rows = [_waiting(_Names(status), chat, now_ms) for chat in waiting]
        yield from terminal.table(rows, columns, indent=" " * 4, first=ID)
    yield from _work_lines(status)
    yield from _session_lines(status, now_ms, columns)


class _Names:
    """What chats are called, where the platform has answered it."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        self._known = foreign.mapping(status.get("chat_names"))

    def of(self, account: object, chat_id: object, topic: str | None = None) -> tuple[str, str]:
        """Return what to call a chat, and its id where that is something else."""
        name = foreign.mapping(self._known.get(str(account))).get(str(chat_id))
        suffix = f" #{topic}" if topic else ""
        return (f"{name or chat_id}{suffix}", str(chat_id) if name else "")


def _waiting(names: _Names, chat: Mapping[str, Any], now_ms: int) -> tuple[str, str, str]:
    shown, chat_id = names.of(chat.get("account"), chat.get("chat_id"))
    oldest = _ago(chat.get("oldest_at"), now_ms)
    return f"{shown}:", f"{chat.get('waiting')} waiting, the oldest for {oldest}", chat_id


def _bound(names: _Names, place: str, session: str) -> tuple[str, str, str]:
    shown, chat_id = names.of(*split_place(PlaceKey(place)))
    return shown, f"→ {session}", chat_id


def _cluster_lines(daemon: Mapping[str, Any], standbys: object) -> Iterator[str]:
    if daemon.get("cluster") is None:
        return
    yield (
        f"cluster {daemon['cluster']}   node {daemon.get('node', '?')},"
        f" term {daemon.get('term', '?')}, {daemon.get('hold', '?')}"
    )
    for one in foreign.mappings(standbys):
        seen = _duration(one.get("seen_ms") or 0)
        yield f"  standby {one.get('node', '?')}, larkd {one.get('version', '?')}, seen {seen} ago"
    if not standbys:
        yield "  nobody stands by"


def _queue_lines(queue: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    if queue.get("error"):
        yield f"queue         unknown: {queue['error']}"
        return
    oldest = queue.get("oldest_pending_ms")
    waiting = f", the oldest for {_duration(oldest)}" if isinstance(oldest, int) else ""
    yield f"queue         {queue.get('pending', 0)} waiting{waiting}"
    yield f"              {queue.get('in_flight', 0)} offered and not yet taken"
    if queue.get("damaged"):
        yield f"              {queue['damaged']} damaged and set aside; see larkd.log"
    if queue.get("last_error"):
        yield (
            f"              could not be stored {_ago(queue.get('last_error_at'), now_ms)} ago:"
            f" {queue['last_error']}"
        )


def _work_lines(status: Mapping[str, Any]) -> Iterator[str]:
    """Cards, approvals, and the fullest budget."""
    if isinstance(status.get("cards_in_flight"), int):
        approvals = status.get("approvals_waiting") or 0
        asked = f", {approvals} approvals wait for a press" if approvals else ""
        yield f"cards         {status['cards_in_flight']} in flight{asked}"
    used = [foreign.mapping(use) for use in status.get("budgets") or ()]
    used = [use for use in used if use.get("in_minute")]
    for use in used[:BUDGETS_MAX]:
        title = "budget        " if use is used[0] else " " * 14
        account = f"{use.get('account')}: " if len({one.get("account") for one in used}) > 1 else ""
        yield f"{title}{account}{_share(use)}  {use.get('endpoint')}"
    if status.get("budgets") and not used:
        yield "budget        no call in the last minute"


def _share(use: Mapping[str, Any]) -> str:
    return f"{use.get('in_minute')} of {use.get('minute_max')} a minute"


def _session_lines(status: Mapping[str, Any], now_ms: int, columns: int) -> Iterator[str]:
    sessions = foreign.mappings(status.get("sessions"))
    if not sessions:
        yield "sessions      none"
        return
    names = _Names(status)
    rows = [("ALIAS", "ROLE", "DOES", "UP", "SESSION", "PID", "WHERE")]
    rows += [
        (
            str(session.get("alias", "")),
            str(session.get("role", "")),
            _does(session, names, now_ms),
            _ago(session.get("connected_at"), now_ms),
            str(session.get("sessionId", "")),
            str(session.get("pid", "")),
            at_home(foreign.mapping(session.get("metadata")).get("cwd", "")),
        )
        for session in sessions
    ]
    yield "sessions"
    yield from terminal.table(rows, columns)
    for session in sessions:
        if session.get("unanswered"):
            yield (
                f"  {session.get('alias')} was given {session['unanswered']} messages over"
                " 10 minutes ago and has not answered"
            )
    bindings = foreign.mapping(status.get("bindings"))
    if bindings:
        yield "chats bound to a session"
        bound = [_bound(names, str(place), str(to)) for place, to in bindings.items()]
        yield from terminal.table(bound, columns, first=ID)


def _does(session: Mapping[str, Any], names: _Names, now_ms: int) -> str:
    """What the session is at, in a few words."""
    if session.get("unresponsive"):
        return "does not stop"
    if isinstance(session.get("turn_since"), int):
        at = foreign.mapping(session.get("turn_chat"))
        chat = f": {names.of(at.get('account'), at['chat_id'])[0]}" if at.get("chat_id") else ""
        return f"a turn, {_ago(session['turn_since'], now_ms)}{chat}"
    if session.get("waiting"):
        return f"{session['waiting']} waiting"
    return "idle" if _runs_turns(session) else "channel"


def _ago(moment_ms: object, now_ms: int) -> str:
    return _duration(max(0, now_ms - moment_ms)) if isinstance(moment_ms, int) else "?"


def _duration(milliseconds: int) -> str:
    seconds = milliseconds // _MS
    for size, unit, smaller, smaller_unit in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // smaller}{smaller_unit}"
    return f"{seconds}s"
