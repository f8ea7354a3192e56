"""Inline code of one line: what is surely code, whatever stands around it.

CommonMark 0.31, section 6.1. A span may begin on an earlier line, and which lines make
a paragraph is not always clear, so a piece counts as code only if it is code wherever
the paragraph may have begun; and not after anything that may be HTML, whose
attributes hide backticks, nor across the cells of a table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

LINES_BEFORE_MAX: Final = 8
"""Of a paragraph that are looked at; in a longer one nothing is surely code."""
_TICKS: Final = re.compile(r"`+")
_STEP: Final = re.compile(r"\\.|`+|<[A-Za-z/!?]", re.DOTALL)

Span = tuple[int, int]


def sure_spans(line: str, before: Sequence[str] = ()) -> list[Span]:
    """Return where *line* is surely code; *before* are the paragraph's lines so far."""
    if "`" not in line or len(before) > LINES_BEFORE_MAX:
        return []
    sure = set(_spans(line))
    for first in range(len(before)):
        if not sure:
            break
        above = "\n".join(before[first:]) + "\n"
        shift = len(above)
        sure &= {(start - shift, end - shift) for start, end in _spans(above + line)}
    return sorted(span for span in sure if "|" not in line[slice(*span)])


def settled_before(line: str, before: Sequence[str] = ()) -> int:
    """Return up to where no text after an unfinished *line* can change what is code in it.

    After that a span may still begin: backticks are open, or may become more.
    """
    if len(before) > LINES_BEFORE_MAX or (
        "`" not in line and not any("`" in one for one in before)
    ):
        return len(line)
    settled = len(line)
    for first in range(len(before) + 1):
        above = "".join([one + "\n" for one in before[first:]])
        open_at = _first_open(above + line)
        if open_at is not None:
            settled = min(settled, max(0, open_at - len(above)))
    return settled


def _first_open(text: str) -> int | None:
    """Return where the first backticks stand that have not found their end, or may have more."""
    at = 0
    while (found := _STEP.search(text, at)) is not None:
        at = found.end()
        if found[0].startswith("<"):
            if _may_hide_ticks(text, at):
                return None
            continue
        if not found[0].startswith("`"):
            continue
        closing = next((run for run in _TICKS.finditer(text, at) if run[0] == found[0]), None)
        if closing is None or closing.end() == len(text):
            return found.start()
        at = closing.end()
    return None


def _may_hide_ticks(text: str, at: int) -> bool:
    """Whether what may be HTML, begun before *at*, may reach over the next backtick."""
    tick, end = text.find("`", at), text.find(">", at)
    return tick >= 0 and (end < 0 or tick < end or any(quote in text[at:end] for quote in "\"'"))


def _spans(text: str) -> list[Span]:
    spans: list[Span] = []
    at = 0
    while (found := _STEP.search(text, at)) is not None:
        at = found.end()
        if found[0].startswith("<"):
            if _may_hide_ticks(text, at):
                break
            continue
        if not found[0].startswith("`"):
            continue
        closing = next((run for run in _TICKS.finditer(text, at) if run[0] == found[0]), None)
        if closing is not None:
            at = closing.end()
            spans.append((found.start(), at))
    return spans
