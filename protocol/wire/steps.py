"""Keeping what a step shows within the contract's bound, the latest of it."""

from __future__ import annotations

import msgspec

from protocol.wire.messages import FileDiff, ToolEvent
from protocol.wire.vocabulary import STEP_TEXT_BYTES_MAX


def bounded(event: ToolEvent) -> ToolEvent:
    """Return *event* with at most 64 KiB of output, of error and of diff, the latest each."""
    if event.output is None and event.error is None and event.diff is None:
        return event
    return msgspec.structs.replace(
        event,
        output=None if event.output is None else _tail(event.output, STEP_TEXT_BYTES_MAX),
        error=None if event.error is None else _tail(event.error, STEP_TEXT_BYTES_MAX),
        diff=None if event.diff is None else _latest(event.diff),
    )


def _tail(text: str, bytes_max: int) -> str:
    if len(text) * 4 <= bytes_max:
        return text
    raw = text.encode(errors="replace")
    return text if len(raw) <= bytes_max else raw[-bytes_max:].decode(errors="ignore")


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
