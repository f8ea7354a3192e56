"""Fitting text to a terminal: columns are counted as it draws them, and nothing wraps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Final

from wcwidth import wcswidth

from actors.kit.plain import plain

_UNLIMITED: Final = 10_000
"""Columns of what is no terminal; whoever reads a pipe wants the whole line."""
_COLUMN_MIN: Final = 6
_GAP: Final = "  "


def size() -> os.terminal_size:
    """Columns and lines of the terminal, or ``$COLUMNS`` and ``$LINES``."""
    return shutil.get_terminal_size()


def columns() -> int:
    """``$COLUMNS``, else the width of the terminal, else as good as no limit."""
    return shutil.get_terminal_size((_UNLIMITED, 24)).columns


def width(text: str) -> int:
    """How many columns *text* takes; call it on plain text."""
    return max(0, wcswidth(text))


def cut(text: str, limit: int) -> str:
    """Return *text* in at most *limit* columns, with ``…`` where something is missing."""
    if width(text) <= limit:
        return text
    kept = ""
    for character in text:  # measured together: a selector may widen what is before it
        if width(kept + character) > limit - 1:
            break
        kept += character
    return kept + "…" * min(1, limit)


def fitted(lines: Iterable[str], limit: int) -> str:
    """Return *lines*, in which others may have chosen the characters, each cut to *limit*."""
    return "\n".join(cut(plain(line), limit) for line in lines)


def pad(text: str, wanted: int) -> str:
    return text + " " * (wanted - width(text))


def table(
    rows: Sequence[Sequence[str]], limit: int, *, indent: str = "  ", first: int | None = None
) -> list[str]:
    """Lay *rows* out in columns where *limit* is small: *first* gives way, then the widest."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(width(row[at]) for row in cells) for at in range(len(cells[0]))]
    left = limit - width(indent) - len(_GAP) * (len(widths) - 1)
    if first is not None and sum(widths) > left:
        widths[first] = max(min(widths[first], _COLUMN_MIN), widths[first] - (sum(widths) - left))
    while sum(widths) > left and max(widths) > _COLUMN_MIN:
        widest = max(range(len(widths)), key=lambda at: widths[at])
        others = max((w for at, w in enumerate(widths) if at != widest), default=0)
        surplus = sum(widths) - left
        step = max(1, min(surplus, widths[widest] - max(others, _COLUMN_MIN)))
        widths[widest] -= step
    return [
        cut(
            indent
            + _GAP.join(
                pad(cut(cell, wanted), wanted) for cell, wanted in zip(row, widths, strict=True)
            ).rstrip(),
            limit,
        )
        for row in cells
    ]
