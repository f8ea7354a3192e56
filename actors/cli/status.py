"""``larkd status``: the state of the running daemon, for people and for scripts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from actors.cli.operator import Unavailable, ask
from protocol.config.places import StateDir
from protocol.routing import lease

_MS: Final = 1000


def fetch(state: StateDir) -> dict[str, Any]:
    """Return the map of ``feishu_channel_status``.

    Raises:
        Unavailable: no daemon serves the directory, or it does not answer.
        ConfigurationError: the observer's token can't be used.
    """
    answer = ask(state, lease.STATUS, role="observer")
    if not answer.ok or not isinstance(answer.result, dict):
        raise Unavailable(f"larkd refused its status: {answer.error or 'no map'}")
    return answer.result


def as_json(status: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(status), indent=2).decode()


def as_text(status: Mapping[str, Any], now_ms: int | None = None) -> str:
    """The status as lines for a terminal."""
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    return "\n".join(map(_printable, _lines(status, now)))


def _lines(status: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    daemon = _map(status.get("daemon"))
    since = _ago(daemon.get("started_at"), now_ms)
    yield (
        f"larkd {daemon.get('version', '?')}   pid {daemon.get('pid', '?')},"
        f" start {daemon.get('generation', '?')}, up {since}"
    )
    yield "connections"
    for account, state in _map(status.get("connection")).items():
        about = _map(state)
        line = f"  {account}: {about.get('state', '?')}"
        if about.get("last_event_at") is not None:
            line += f", last event {_ago(about['last_event_at'], now_ms)} ago"
        if about.get("last_error"):
            line += f", last error: {about['last_error']}"
        yield line
        for reason, count in _map(about.get("refused")).items():
            yield f"    refused {count}: {reason}"
    yield "channel"
    yield f"  owner       {status.get('owner_session_id') or '-'}"
    yield f"  dispatcher  {status.get('dispatcher_session_id') or '-'}"
    yield f"  granted     {status.get('granted_session_id') or '-'}"
    target = status.get("effective_target_session_id")
    yield f"  hears now   {target or '- (nobody; messages wait)'}"
    yield f"  epoch       {status.get('lease_epoch', '?')}"
    yield from _queue_lines(_map(status.get("queue")), now_ms)
    yield from _session_lines(status, now_ms)


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


def _session_lines(status: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    listed = status.get("sessions")
    sessions = [_map(session) for session in listed] if isinstance(listed, list) else []
    if not sessions:
        yield "sessions      none"
        return
    rows = [("ALIAS", "ROLE", "SESSION", "PID", "UP", "WHERE")]
    rows += [
        (
            str(session.get("alias", "")),
            str(session.get("role", "")),
            str(session.get("sessionId", "")),
            str(session.get("pid", "")),
            _ago(session.get("connected_at"), now_ms),
            str(_map(session.get("metadata")).get("cwd", "")),
        )
        for session in sessions
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    yield "sessions"
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
    for session in sessions:
        if session.get("unanswered"):
            yield (
                f"  {session.get('alias')} was given {session['unanswered']} messages over"
                " 10 minutes ago and has not answered"
            )
    bindings = _map(status.get("bindings"))
    if bindings:
        yield "chats bound to a session"
        yield from (f"  {chat} → {session}" for chat, session in bindings.items())


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


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


def _printable(line: str) -> str:
    """The metadata of a proxy must not move the cursor."""
    return "".join(c if c.isprintable() else "�" for c in line)
