"""``larkd log MESSAGE``: what became of a message, from the journal and the rotated log."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from actors import journal
from actors.cli import terminal
from actors.cli.output import CommandFailed, Output, as_json
from actors.host.log_reading import events_about
from actors.kit.clock import local_clock
from protocol.config.places import StateDir
from protocol.routing.history import MessageHistory, history_text

_SHOWN_FIRST: Final = ("timestamp", "level", "event")


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Show the journal's row and every log line about it, oldest first.

    Raises:
        CommandFailed: neither journal nor log knows the message, or can't be read.
    """
    try:
        row = journal.what_became_of(state.database, parsed.message)
        history = None if row is None else journal.history_of(state.database, parsed.message)
    except journal.JournalError as failed:
        raise CommandFailed(str(failed)) from None
    known = {parsed.message}
    if row is not None:
        known |= {str(row[key]) for key in ("event_id", "message_id") if row[key]}
    try:
        lines = events_about(state.log, known)
    except OSError as failed:
        raise CommandFailed(f"{state.log} can't be read: {failed.strerror}") from None
    if row is None and not lines:
        raise CommandFailed(
            f"nothing about {parsed.message} in {state.root}: it never arrived here,"
            " or is older than journal (30 days) and log reach"
        )
    if parsed.json:
        return Output(as_json({"row": row, "log": lines}))
    limit = terminal.columns()
    shown = [*_row_lines(row, history), *map(_log_line, lines)]
    return Output("\n".join(terminal.cut(terminal.printable(line), limit) for line in shown))


def _row_lines(row: Mapping[str, Any] | None, history: MessageHistory | None) -> Iterator[str]:
    if row is None or history is None:
        yield "journal   no row (any more)"
        return
    yield f"journal   {row['state']} since {_clock(row['changed_at'])}"
    yield f"          received {_clock(row['received_at'])} by account {row['account']}"
    yield f"          message {row['message_id'] or '-'}, event {row['event_id']}"
    yield f"          chat {row['chat_id'] or '-'}, session {row['session_id'] or '-'}"
    for step in history_text(history, local_clock).en.splitlines():
        yield f"          {step}"


def _clock(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def _log_line(event: Mapping[str, Any]) -> str:
    rest = " ".join(f"{key}={event[key]}" for key in event if key not in _SHOWN_FIRST)
    return f"{event.get('timestamp', '?')} {event.get('event', '?')} {rest}".rstrip()
