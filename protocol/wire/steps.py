"""Keeping what a turn's messages carry within bounds: of what a step gave, the latest."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from protocol.wire.messages import FileDiff, Plan, ToolEvent, TurnEnd, TurnMessage
from protocol.wire.vocabulary import STEP_TEXT_BYTES_MAX

SUMMARY_CHARACTERS_MAX: Final = 120
ID_CHARACTERS_MAX: Final = 256
"""Of a step's id; what is longer is distinguished by its beginning."""
DIFFS_MAX: Final = 256
PLAN_ENTRIES_MAX: Final = 1_000
PLAN_CHARACTERS_MAX: Final = 1_000
ERROR_CHARACTERS_MAX: Final = 8_000
"""Why a turn failed; a card shows less."""


def bounded(message: TurnMessage) -> TurnMessage:
    """Return *message* with no more than can be of use, whatever its frame held.

    Of a step at most 64 KiB of output, of error and of diff, the latest each.
    """
    match message:
        case ToolEvent():
            return bounded_step(message)
        case Plan(entries=entries) if len(entries) > PLAN_ENTRIES_MAX or any(
            len(one.content) > PLAN_CHARACTERS_MAX for one in entries
        ):
            kept = [
                msgspec.structs.replace(one, content=one.content[:PLAN_CHARACTERS_MAX])
                for one in entries[:PLAN_ENTRIES_MAX]
            ]
            return msgspec.structs.replace(message, entries=kept)
        case TurnEnd(error=str(error)) if len(error) > ERROR_CHARACTERS_MAX:
            return msgspec.structs.replace(message, error=error[:ERROR_CHARACTERS_MAX])
    return message


def bounded_step(event: ToolEvent) -> ToolEvent:
    """Return *event* with ids that are short, its input as one line, and the latest of the rest."""
    parent_id = event.parent_id
    return msgspec.structs.replace(
        event,
        call_id=event.call_id[:ID_CHARACTERS_MAX],
        parent_id=None if parent_id is None else parent_id[:ID_CHARACTERS_MAX],
        # All that is ever read of it; the whole is not kept.
        input=summarise(event.input) if event.input else None,
        output=None if event.output is None else _tail(event.output, STEP_TEXT_BYTES_MAX),
        error=None if event.error is None else _tail(event.error, STEP_TEXT_BYTES_MAX),
        diff=None if event.diff is None else _latest(event.diff[-DIFFS_MAX:]),
    )


def summarise(value: Any) -> str:
    """Describe a tool's input in one line: its first field that names something, or all of it."""
    if isinstance(value, dict):
        for key in ("command", "file_path", "path", "pattern", "query", "url", "description"):
            if isinstance(value.get(key), str) and value[key]:
                return one_line(value[key])
    if isinstance(value, str):
        return one_line(value)
    try:
        return one_line(msgspec.json.encode(value).decode())
    except (TypeError, ValueError, RecursionError):
        return ""


def one_line(text: str) -> str:
    flat = " ".join(text[: SUMMARY_CHARACTERS_MAX * 4].split())
    return flat if len(flat) <= SUMMARY_CHARACTERS_MAX else flat[: SUMMARY_CHARACTERS_MAX - 1] + "…"


def _tail(text: str, bytes_max: int) -> str:
    return text.encode(errors="replace")[-bytes_max:].decode(errors="ignore")


def _latest(diffs: list[FileDiff]) -> list[FileDiff]:
    left = STEP_TEXT_BYTES_MAX
    kept: list[FileDiff] = []
    for one in reversed(diffs):
        size = sum(
            len(text.encode(errors="replace")) for text in (one.path, one.old or "", one.new)
        )
        if size <= left:
            kept.append(one)
            left -= size
            continue
        if not kept:
            # Of one change that is too large: the end of each side.
            half = STEP_TEXT_BYTES_MAX // 2 - 2_048
            old = None if one.old is None else _tail(one.old, half)
            kept.append(FileDiff(path=one.path[:1_024], old=old, new=_tail(one.new, half)))
        break
    return kept[::-1]
