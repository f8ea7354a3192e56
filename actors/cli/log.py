"""``larkd log MESSAGE``: what became of a message, from the journal and the rotated log."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from actors import journal
from actors.cli import terminal
from actors.cli.configured import cluster_of
from actors.cli.operator import not_running
from actors.cli.output import CommandFailed, Output, as_json
from actors.host.log_reading import events_about
from actors.host.started import configuration_in_use
from actors.kit.clock import local_clock
from actors.messages import journal as to_journal
from protocol.config.places import StateDir
from protocol.routing.history import history_text

_SHOWN_FIRST: Final = ("timestamp", "level", "event")


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Show the journal's row and every log line about it, oldest first.

    Raises:
        CommandFailed: neither journal nor log knows the message, or can't be read.
    """
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


def _what_became_of(
    state: StateDir, message: str, config: Path | None
) -> to_journal.Explained | None:
    if config or (not state.database.exists() and configuration_in_use(state) is not None):
        cluster = cluster_of(state, config)
        if cluster is not None:
            from actors.cli.claims import target_of  # noqa: PLC0415  # it needs larkd[postgres]
            from actors.journal import postgres  # noqa: PLC0415  # likewise

            return postgres.what_became_of(target_of(cluster), message)
    if not state.database.exists():
        raise CommandFailed(f"no journal to look into: {not_running(state)}")
    return journal.what_became_of(state.database, message)


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


def _clock(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def _log_line(event: Mapping[str, Any]) -> str:
    rest = " ".join(f"{key}={event[key]}" for key in event if key not in _SHOWN_FIRST)
    return f"{event.get('timestamp', '?')} {event.get('event', '?')} {rest}".rstrip()
