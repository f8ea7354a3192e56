"""Reading the rotated log back: the events about one message, oldest first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from actors.host.logs import FILES_KEPT

LINES_MAX: Final = 500
_IDS: Final = ("event_id", "message", "message_id", "answers", "turn", "turn_id", "card", "row")
"""Fields of a log event by which one message's way is followed."""


def events_about(log: Path, known: set[str]) -> list[Mapping[str, Any]]:
    """Return the events about any of the *known* ids.

    Raises:
        OSError: a file of the log can't be read.
    """
    return follow(log_events(log), known)


def follow(events: Iterable[Mapping[str, Any]], known: set[str]) -> list[Mapping[str, Any]]:
    """Return the events about any of the *known* ids, and about ids those name in turn.

    A turn or card that is named once beside the message it answers belongs to it; what came
    before that line is found by the second look.
    """
    listed = list(events)
    found: list[Mapping[str, Any]] = []
    for _ in range(2):
        found = []
        for event in listed:
            ids = {str(event[key]) for key in _IDS if event.get(key)}
            if ids & known:
                known |= ids
                found.append(event)
    return found[-LINES_MAX:]


def log_events(log: Path) -> Iterator[Mapping[str, Any]]:
    """Every event of the rotated log, oldest first; what is no JSON is passed over.

    Raises:
        OSError: a file of it can't be read.
    """
    older = [log.with_name(f"{log.name}.{number}") for number in range(FILES_KEPT, 0, -1)]
    for path in (*older, log):
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    try:
                        event = json.loads(line)
                    except ValueError:
                        continue
                    if isinstance(event, dict):
                        yield event
        except FileNotFoundError:
            continue
