"""Large messages of a turn in pieces, so that taking one piece holds up nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from protocol.wire.messages import Delta, Plan, ToolEvent, TurnEnd, TurnMessage

PIECE_CHARACTERS: Final = 2_048
PIECE_LINES: Final = 64
"""A card takes text line by line; so many lines take it about a millisecond."""
LARGE_ENTRIES: Final = 64


def in_pieces(message: TurnMessage) -> Iterator[TurnMessage]:
    """Return *message* as it is, or a delta that is long as several that hold the same."""
    if not isinstance(message, Delta):
        yield message
        return
    for text in texts(message.text):
        yield (
            message
            if len(text) == len(message.text)
            else msgspec.structs.replace(message, text=text)
        )


def texts(text: str) -> Iterator[str]:
    """Cut *text*: at most so many characters each, and so many lines."""
    at = 0
    while True:
        end = at + PIECE_CHARACTERS
        if text.count("\n", at, end) > PIECE_LINES:
            end = at
            for _ in range(PIECE_LINES):
                end = text.index("\n", end) + 1
        yield text[at:end]
        at = end
        if at >= len(text):
            return


def is_large(message: object) -> bool:
    """Whether taking it is worth a turn of its own among what is large."""
    match message:
        case Delta(text=text):
            return len(text) * 2 > PIECE_CHARACTERS or text.count("\n") * 2 > PIECE_LINES
        case ToolEvent(output=output, error=error, diff=diff):
            return diff is not None or len(output or "") + len(error or "") > PIECE_CHARACTERS
        case Plan(entries=entries):
            return len(entries) > LARGE_ENTRIES
        case TurnEnd(text=text):
            return len(text or "") > PIECE_CHARACTERS
    return False
