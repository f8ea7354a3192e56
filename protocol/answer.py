"""The answer's text, as cards can show it: made safe, and cut where a card is full.

Text is taken line by line, each once. Outside of code three things change: at-tags
are made inert, so that an agent can't mention people; pictures on the web become
links; nothing else. What can still change, an unfinished tag at the end of the last
line, is held back, so that what is shown only ever grows at its end.

When a card is full its text is sealed at a line's end, better at a block's: an open
code fence is closed and opened again, and a table's head is repeated. A line that is
too long for any card is cut. Sealed text is never looked at again.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

SEGMENT_BYTES_MAX: Final = 14_000
"""Of the 30 KB of a card, as JSON in UTF-8; the rest is for panels, footer and room."""
SEGMENT_TABLES_MAX: Final = 4
BLOCK_END_WITHIN: Final = 0.25
"""A block's end is preferred for sealing if it lies in this last part of the segment."""
TAIL_CHARACTERS_MAX: Final = 4_096
"""An unfinished line longer than this is taken in pieces."""

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_CODE_SPAN: Final = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_AT_TAG: Final = re.compile(r"<(/?)(at\b)", re.IGNORECASE)
_IMAGE: Final = re.compile(r"!(\[[^\]\n]*\]\(https?://[^\s)]+[^)\n]*\))")
_TABLE_RULE: Final = re.compile(r" {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?\s*")
_UNFINISHED: Final = re.compile(
    r"(?:</?(?:a(?:t\b[^>]*)?)?|!(?:\[[^\]\n]*(?:\](?:\([^)\n]*)?)?)?)$"
)


def json_bytes(text: str) -> int:
    """How many bytes *text* takes inside a card's JSON."""
    return len(msgspec.json.encode(text)) - 2


class AnswerText:
    """Feed it text; ``sealed`` and ``current`` are what its cards show."""

    def __init__(self) -> None:
        self.sealed: list[str] = []
        self._lines: list[str] = []
        self._bytes = 0
        self._tables = 0
        self._tail = ""
        self._fence: str | None = None  # the line that opened the fence we are in
        self._fence_mark = ""
        self._table_head: list[str] = []
        self._in_table = False
        self._block_end = 0  # lines of the segment up to the last block's end
        self._block_end_bytes = 0
        self._fed = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show yet."""
        return not (self._fed or self.sealed)

    @property
    def current(self) -> str:
        """What the last card shows."""
        return "".join(self._lines) + self._safe_tail()

    @property
    def complete(self) -> str:
        """The part of ``current`` up to its last block's end."""
        return "".join(self._lines[: self._block_end])

    def feed(self, text: str) -> None:
        if not text:
            return
        text = storable(text)
        self._fed = self._fed or not text.isspace()
        lines = (self._tail + text).split("\n")
        self._tail = lines.pop()
        for line in lines:
            self._take(line + "\n")
        while len(self._tail) > TAIL_CHARACTERS_MAX:
            piece = self._tail[:TAIL_CHARACTERS_MAX]
            held = _UNFINISHED.search(piece)
            if held and held.start() > TAIL_CHARACTERS_MAX // 2:
                piece = piece[: held.start()]
            self._tail = self._tail[len(piece) :]
            self._take(piece)

    def finish(self) -> None:
        """The text is complete: nothing is held back any more."""
        tail, self._tail = self._tail, ""
        if tail:
            self._take(tail)

    # ── lines ───────────────────────────────────────────────────────────────

    def _take(self, line: str) -> None:
        opened_before = self._fence
        shown = self._shown(line)
        size = json_bytes(shown)
        starts_table = self._follow_table(line) if self._fence is None else False
        if self._bytes + size > SEGMENT_BYTES_MAX and self._lines:
            self._seal(opened_before)
        if starts_table and self._tables > SEGMENT_TABLES_MAX:
            self._seal_before_table()
        while self._bytes + size > SEGMENT_BYTES_MAX:
            shown, size = self._cut(shown)
        self._append(shown, size)
        if self._fence is None and not line.strip():
            self._block_end, self._block_end_bytes = len(self._lines), self._bytes

    def _append(self, shown: str, size: int) -> None:
        self._lines.append(shown)
        self._bytes += size

    def _shown(self, line: str) -> str:
        """Follow fences, and make one line safe where it is not code."""
        fence = _FENCE.match(line)
        if self._fence is not None:
            if fence and not fence[2].strip() and fence[1].startswith(self._fence_mark):
                self._fence = None
            return line
        if fence and not (fence[1][0] == "`" and "`" in fence[2]):
            self._fence, self._fence_mark = line, fence[1]
            return line
        return safe_line(line)

    def _follow_table(self, line: str) -> bool:
        """Keep the head of the table we are in; say whether *line* is its rule."""
        if self._in_table and "|" in line:
            return False
        self._in_table = False
        if _TABLE_RULE.fullmatch(line.rstrip("\n")) and self._lines and "|" in self._lines[-1]:
            self._in_table = True
            self._table_head = [self._lines[-1], line]
            self._tables += 1
            return True
        return False

    # ── sealing ─────────────────────────────────────────────────────────────

    def _seal(self, fence: str | None) -> None:
        """Close the segment: at its last block's end if that is near, else here."""
        at, size = len(self._lines), self._bytes
        if (
            fence is None
            and 0 < self._block_end < at
            and self._block_end_bytes >= size * (1 - BLOCK_END_WITHIN)
        ):
            at = self._block_end
        rest = self._lines[at:]
        text = "".join(self._lines[:at])
        head: list[str] = []
        if fence is not None:
            # The fence itself may be the last line: then it just moves on.
            mark = _FENCE.match(fence)
            text = text.rstrip("\n") + "\n" + (mark[1] if mark else "```")
            head = [fence if fence.endswith("\n") else fence + "\n"]
        elif self._in_table and not rest:
            head = list(self._table_head)
        self._next_segment(text, [*head, *rest])

    def _seal_before_table(self) -> None:
        """A card shows so many tables and no more: the table moves on, with its head."""
        head = self._lines.pop()
        self._next_segment("".join(self._lines), [head])
        self._tables = 1

    def _next_segment(self, text: str, lines: list[str]) -> None:
        self.sealed.append(text)
        self._lines = []
        self._bytes = 0
        self._block_end = self._block_end_bytes = 0
        self._tables = int(self._in_table)
        for line in lines:
            self._append(line, json_bytes(line))

    def _cut(self, shown: str) -> tuple[str, int]:
        """Put as much of a line that fits no card into this one, and seal it."""
        room = SEGMENT_BYTES_MAX - self._bytes
        low, high = 1, len(shown)
        while low < high:  # the longest piece that fits
            middle = (low + high + 1) // 2
            if json_bytes(shown[:middle]) <= room:
                low = middle
            else:
                high = middle - 1
        self._append(shown[:low], json_bytes(shown[:low]))
        self._seal(self._fence)
        return shown[low:], json_bytes(shown[low:])

    # ── the unfinished line ─────────────────────────────────────────────────

    def _safe_tail(self) -> str:
        tail = self._tail
        if not tail or self._fence is not None:
            return tail
        held = _UNFINISHED.search(tail)
        return safe_line(tail[: held.start()] if held else tail)


def safe_line(line: str) -> str:
    """Make one line outside of fences safe, leaving its inline code as it is."""
    if "<" not in line and "![" not in line:
        return line
    parts: list[str] = []
    at = 0
    for code in _CODE_SPAN.finditer(line):
        parts += (_safe(line[at : code.start()]), code[0])
        at = code.end()
    parts.append(_safe(line[at:]))
    return "".join(parts)


def _safe(text: str) -> str:
    return _IMAGE.sub(r"\1", _AT_TAG.sub(r"&#60;\1\2", text))


def storable(text: str) -> str:
    """Replace what neither JSON nor the platform takes: NUL and lone surrogates."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode(errors="replace").decode()
    return text
