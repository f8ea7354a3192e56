"""``larkd log MESSAGE``: what became of a message, from the journal and the rotated log.

Without a message, which came last: the chat apps show nobody their ids.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from actors import journal
from actors.cli import terminal
from actors.cli.configured import cluster_of
from actors.cli.operator import not_running
from actors.cli.output import CommandFailed, Output, as_json
from actors.host.advice import command_for
from actors.host.log_reading import events_about, log_events
from actors.host.started import configuration_in_use
from actors.kit.clock import local_clock
from actors.messages import journal as to_journal
from protocol.config.places import StateDir
from protocol.config.settings import ClusterSettings
from protocol.routing.delivery import RowState
from protocol.routing.history import history_text

_SHOWN_FIRST: Final = ("timestamp", "level", "event")
RECENT_MAX: Final = 20
_WIDE: Final = 120
"""Columns in which the chat's id stands beside the message's."""


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Show the journal's row and every log line about it, oldest first; or which came last.

    Raises:
        CommandFailed: neither journal nor log knows the message, or can't be read.
    """
    if parsed.message is None:
        return _recent(state, parsed)
    try:
        found = _what_became_of(state, parsed.message, getattr(parsed, "config", None))
    except journal.JournalError as failed:
        raise CommandFailed(str(failed)) from None
    known = {parsed.message}
    if found is not None:
        known |= {found.event_id, found.history.message_id or found.event_id}
    try:
        lines = events_about(state.log, known)
    except OSError as failed:
        raise CommandFailed(f"{state.log} can't be read: {failed.strerror}") from None
    if found is None and not lines:
        raise CommandFailed(
            f"nothing about {parsed.message} in {state.root}: it never arrived here,"
            " or is older than journal (30 days) and log reach"
        )
    if parsed.json:
        return Output(as_json({"row": None if found is None else _row(found), "log": lines}))
    limit = terminal.columns()
    shown = [*_row_lines(found), *map(_log_line, lines)]
    return Output(terminal.fitted(shown, limit))


def _recent(state: StateDir, parsed: argparse.Namespace) -> Output:
    try:
        found = {str(one["message_id"]): one for one in _logged(state)}
        for kept in _newest(state, getattr(parsed, "config", None)):
            message = str(kept.history.message_id)
            found[message] = _came(kept, found.get(message, {}))
    except OSError as failed:
        raise CommandFailed(f"{state.log} can't be read: {failed.strerror}") from None
    except journal.JournalError as failed:
        raise CommandFailed(str(failed)) from None
    newest = sorted(found.values(), key=lambda one: one["received_at"] or 0)[-RECENT_MAX:]
    if parsed.json:
        return Output(as_json({"messages": newest}))
    if not newest:
        return Output("no message has come, as far as journal (30 days) and log reach")
    limit = terminal.columns()
    shown = 4 if limit >= _WIDE else 3
    rows = [("RECEIVED", "MESSAGE", "STATE", "CHAT")[:shown]]
    for one in newest:
        row = (
            _clock(one["received_at"]),
            one["message_id"],
            one["state"],
            str(one["chat_id"] or "-"),
        )
        rows.append(row[:shown])
    more = f"more of one: {command_for(state, 'log', 'MESSAGE')}"
    return Output("\n".join([*terminal.table(rows, limit, indent="", first=2), more]))


def _logged(state: StateDir) -> Iterator[dict[str, Any]]:
    """The messages in the log: also those that never came into the journal, or left it."""
    received: dict[str, Mapping[str, Any]] = {}
    refused: dict[str, str] = {}
    for event in log_events(state.log):
        message = event.get("message")
        if event.get("event") == "feishu.message.received" and message:
            received.setdefault(str(message), event)
        elif event.get("event") == "feishu.message.refused":
            refused[str(message)] = str(event.get("reason"))
    for message, event in received.items():
        yield {
            "received_at": _milliseconds(str(event.get("timestamp"))),
            "message_id": message,
            "state": f"refused: {refused[message]}" if message in refused else "closed",
            "chat_id": event.get("chat"),
            "account": event.get("account"),
        }


def _came(row: to_journal.Explained, logged: Mapping[str, Any]) -> dict[str, Any]:
    refused = row.history.state is RowState.REFUSED and row.history.note
    return {
        "received_at": row.history.received_at_ms,
        "message_id": row.history.message_id,
        "state": f"refused: {row.history.note}" if refused else row.history.state,
        "chat_id": row.chat_id or logged.get("chat_id"),
        "account": row.account,
    }


def _newest(state: StateDir, config: Path | None) -> tuple[to_journal.Explained, ...]:
    cluster = _cluster(state, config)
    if cluster is None:
        return journal.newest(_file_of(state), RECENT_MAX)
    from actors.cli.claims import target_of  # noqa: PLC0415  # it needs larkd[postgres]
    from actors.journal import postgres  # noqa: PLC0415  # likewise

    return postgres.newest(target_of(cluster), RECENT_MAX)


def _what_became_of(
    state: StateDir, message: str, config: Path | None
) -> to_journal.Explained | None:
    cluster = _cluster(state, config)
    if cluster is None:
        return journal.what_became_of(_file_of(state), message)
    from actors.cli.claims import target_of  # noqa: PLC0415  # it needs larkd[postgres]
    from actors.journal import postgres  # noqa: PLC0415  # likewise

    return postgres.what_became_of(target_of(cluster), message)


def _cluster(state: StateDir, config: Path | None) -> ClusterSettings | None:
    """Return whose database has the journal; None: the state directory has it."""
    if config or (not state.database.exists() and configuration_in_use(state) is not None):
        return cluster_of(state, config)
    return None


def _file_of(state: StateDir) -> Path:
    if not state.database.exists():
        raise CommandFailed(f"no journal to look into: {not_running(state)}")
    return state.database


def _row(found: to_journal.Explained) -> dict[str, Any]:
    history = found.history
    return {
        "row_id": history.row_id,
        "account": found.account,
        "event_id": found.event_id,
        "message_id": history.message_id,
        "kind": found.kind,
        "state": history.state,
        "chat_id": found.chat_id,
        "attempt": history.attempt,
        "session_id": history.session_id,
        "received_at": history.received_at_ms,
        "changed_at": history.changed_at_ms,
        "note": history.note,
    }


def _row_lines(found: to_journal.Explained | None) -> Iterator[str]:
    if found is None:
        yield "journal   no row (any more)"
        return
    history = found.history
    yield f"journal   {history.state} since {_clock(history.changed_at_ms)}"
    yield f"          received {_clock(history.received_at_ms)} by account {found.account}"
    yield f"          message {history.message_id or '-'}, event {found.event_id}"
    yield f"          chat {found.chat_id or '-'}, session {history.session_id or '-'}"
    for step in history_text(history, local_clock).en.splitlines():
        yield f"          {step}"


def _milliseconds(timestamp: str) -> int:
    try:
        return int(datetime.fromisoformat(timestamp).timestamp() * 1000)
    except ValueError:
        return 0


def _clock(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def _log_line(event: Mapping[str, Any]) -> str:
    rest = " ".join(f"{key}={event[key]}" for key in event if key not in _SHOWN_FIRST)
    return f"{event.get('timestamp', '?')} {event.get('event', '?')} {rest}".rstrip()
