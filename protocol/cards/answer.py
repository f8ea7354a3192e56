"""The answer's text, as cards can show it: made safe, and cut where a card is full.

Text is taken line by line, each once. Outside of code two things change: at-tags are
made inert, so that an agent can't mention people; and pictures become links, until the
platform has them and they become pictures again. What can still change, an unfinished
tag at the end of the last line, is held back, so that what is shown only ever grows at
its end; a picture that arrives is the one exception.

When a card is full its text is sealed at a line's end, better at a block's: an open
code fence is closed and opened again, and a table's head is repeated. A line that is
too long for any card is cut. Sealed text is never looked at again.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Struct

from protocol.cards.code_spans import LINES_BEFORE_MAX
from protocol.cards.fences import Fence, LineKind, Lines
from protocol.cards.prose import (
    NOTHING_IS_CODE,
    pictures_in,
    safe_beginning,
    safe_line,
    safe_piece,
)

SEGMENT_BYTES_MAX: Final = 25_500
"""As JSON in UTF-8, until it is known how much else is on the card: 30 KB less a tenth, and
less footer and button."""
SEGMENT_BYTES_MIN: Final = 1_000
"""Less than this is no card any more."""
SEGMENT_TABLES_MAX: Final = 4
BLOCK_END_WITHIN: Final = 0.25
"""A block's end is preferred for sealing if it lies in this last part of the segment."""
HEAD_SHARE_MAX: Final = 0.25
"""A table's head that takes more of a card is not repeated: the table could not go on."""
TAIL_CHARACTERS_MAX: Final = 4_096
"""An unfinished line longer than this is taken in pieces."""

_ON_THE_WEB: Final = ("http://", "https://")
PICTURES_MAX: Final = 20
"""Of one answer that are looked for; more stay links."""
_TABLE_RULE: Final = re.compile(r" {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?\s*")


def json_bytes(text: str) -> int:
    """How many bytes *text* takes inside a card's JSON."""
    return len(msgspec.json.encode(text)) - 2


class _Line(Struct):
    """A line of the current segment: what is shown of it, and what it was."""

    shown: str
    size: int
    fence: Fence | None = None
    """The fence that is open after it."""
    pictured: tuple[str, tuple[str, ...]] | None = None
    """Where it holds pictures: as it came, and the lines of its paragraph before it."""


class AnswerText:
    """Feed it text; ``sealed`` and ``current`` are what its cards show."""

    def __init__(self, *, tail_characters_max: int = TAIL_CHARACTERS_MAX) -> None:
        self.sealed: list[str] = []
        self._tail_max = tail_characters_max
        self._lines: list[_Line] = []
        self._bytes = 0
        self._bytes_max = SEGMENT_BYTES_MAX
        self._taken_max = SEGMENT_BYTES_MAX  # more than so much the platform did not take
        self._tables = 0
        self._tail = ""
        self._followed = Lines()
        self._bared: Fence | None = None  # its containers stayed on an earlier card
        self._paragraph: tuple[str, ...] = ()  # the lines before this one, without a blank one
        self._picture_keys: dict[str, str] = {}
        self._pictures: dict[str, None] = {}  # seen on the web, in order
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
        return _text(self._lines) + self._safe_tail()

    @property
    def complete(self) -> str:
        """The part of ``current`` up to its last block's end."""
        return _text(self._lines[: self._block_end])

    @property
    def pictures(self) -> tuple[str, ...]:
        """The addresses of the pictures seen so far, in order."""
        return tuple(self._pictures)

    def picture_ready(self, url: str, image_key: str) -> bool:
        """The platform has this picture: show it where its link stood.

        Only in what is not sealed yet. Return whether anything changed.
        """
        self._picture_keys[url] = image_key
        changed = False
        for line in self._lines:
            if line.pictured is not None and url in line.pictured[0]:
                line.shown = safe_line(*line.pictured, self._picture_keys)
                size = json_bytes(line.shown)
                self._bytes += size - line.size
                line.size, changed = size, True
        return changed

    def feed(self, text: str) -> None:
        if not text:
            return
        text = storable(text)
        self._fed = self._fed or not text.isspace()
        lines = (self._tail + text).split("\n")
        self._tail = lines.pop()
        for line in lines:
            self._take(line + "\n")
        while len(self._tail) > self._tail_max:
            self._take_piece(self._tail[: self._tail_max])

    def shrink(self) -> bool:
        """Put half as much on a card from here on, and what is too much on the next one.

        Return whether there is less on this one now.
        """
        if self._bytes <= SEGMENT_BYTES_MIN:
            return False
        self._taken_max = max(SEGMENT_BYTES_MIN, min(self._bytes, self._bytes_max) // 2)
        self._bytes_max, before = self._taken_max, self._bytes
        self._seal_surplus()
        return self._bytes < before

    def fit(self, bytes_max: int) -> None:
        """Keep the current text within what its card has left for it; seal what is more."""
        self._bytes_max = max(SEGMENT_BYTES_MIN, min(self._taken_max, bytes_max))
        self._seal_surplus()

    def _seal_surplus(self) -> None:
        self._seal_lines()
        if self._bytes > self._bytes_max and len(self._lines) == 1:
            line = self._lines.pop()
            self._bytes, shown, size = 0, line.shown, line.size
            while self._bytes + size > self._bytes_max:
                shown, size = self._cut(shown)
            self._append(shown, size)

    def _seal_lines(self) -> None:
        while self._bytes > self._bytes_max and len(self._lines) > 1:
            size, at = 0, 0
            while at < len(self._lines) - 1 and (
                at == 0 or size + self._lines[at].size <= self._bytes_max
            ):
                size += self._lines[at].size
                at += 1
            self._seal_at(at, self._lines[at - 1].fence)

    def finish(self) -> None:
        """The text is complete: nothing is held back any more."""
        tail, self._tail = self._tail, ""
        if tail:
            self._take(tail)

    # ── lines ───────────────────────────────────────────────────────────────

    def _take_piece(self, piece: str) -> None:
        """Take a piece of a line that is longer than is kept unfinished."""
        shown: str | None = None
        if self._followed.look(piece) is not LineKind.CODE:
            shown, size = safe_piece(piece, self._paragraph, self._picture_keys)
            piece = piece[:size]
        self._tail = self._tail[len(piece) :]
        self._take(piece, shown, goes_on=True)

    def _take(self, line: str, shown: str | None = None, *, goes_on: bool = False) -> None:
        opened_before = self._followed.fence
        continues = self._followed.in_long_line
        is_code = self._followed.take(line, goes_on=goes_on)
        pictured = None
        if is_code:
            shown = line if continues else self._bare(line)
        elif shown is None:
            pictured, shown = self._look_for_pictures(line), self._safe(line)
        size = json_bytes(shown)
        starts_table = not is_code and self._follow_table(line)
        if self._bytes + size > self._bytes_max and self._lines:
            self._seal(opened_before)
            if is_code and not continues:
                shown = self._bare(line)
                size = json_bytes(shown)
        if starts_table and self._tables > SEGMENT_TABLES_MAX:
            self._seal_before_table()
        while self._bytes + size > self._bytes_max:
            shown, size = self._cut(shown)
            pictured = None
        self._append(shown, size, pictured)
        if continues or goes_on:
            self._paragraph = () if is_code else NOTHING_IS_CODE
        elif is_code or not line.strip():
            self._paragraph = ()
        else:
            self._paragraph = (*self._paragraph, line.rstrip("\n"))[-LINES_BEFORE_MAX - 1 :]
        if self._followed.fence is None:
            self._bared = None
        if self._followed.fence is None and not continues and not line.strip():
            self._block_end, self._block_end_bytes = len(self._lines), self._bytes

    def _bare(self, line: str) -> str:
        """Return a line of code as this card shows it: outside of lists it has left."""
        if self._bared is None:
            return line
        end = "\n" if line.endswith("\n") else ""
        return self._bared.bare(line.removesuffix("\n")) + end

    def _safe(self, line: str) -> str:
        return safe_line(line, self._paragraph, self._picture_keys)

    def _append(
        self, shown: str, size: int, pictured: tuple[str, tuple[str, ...]] | None = None
    ) -> None:
        self._lines.append(_Line(shown, size, self._followed.fence, pictured))
        self._bytes += size

    def _look_for_pictures(self, line: str) -> tuple[str, tuple[str, ...]] | None:
        """Note the pictures of a line of prose; None: it holds none."""
        if "![" not in line:
            return None
        for url in pictures_in(line, self._paragraph):
            if url.startswith(_ON_THE_WEB) and len(self._pictures) < PICTURES_MAX:
                self._pictures.setdefault(url)
        return line, self._paragraph

    def _follow_table(self, line: str) -> bool:
        """Keep the head of the table we are in; return whether *line* is its rule."""
        if self._in_table and "|" in line:
            return False
        self._in_table = False
        if (
            _TABLE_RULE.fullmatch(line.rstrip("\n"))
            and self._lines
            and "|" in self._lines[-1].shown
        ):
            self._in_table = True
            self._table_head = [self._lines[-1].shown, line]
            self._tables += 1
            return True
        return False

    # ── sealing ─────────────────────────────────────────────────────────────

    def _seal(self, fence: Fence | None) -> None:
        """Close the segment: at its last block's end if that is near, else here."""
        at, size = len(self._lines), self._bytes
        if (
            fence is None
            and 0 < self._block_end < at
            and self._block_end_bytes >= size * (1 - BLOCK_END_WITHIN)
        ):
            at = self._block_end
        self._seal_at(at, fence)

    def _seal_at(self, at: int, fence: Fence | None) -> None:
        """Close the segment after so many lines, with what has to go on repeated below."""
        rest = self._lines[at:]
        text = _text(self._lines[:at])
        head: list[str] = []
        if fence is not None:
            # The fence itself may be the last line: then it just moves on.
            mark = fence.mark if self._bared is not None else fence.closing
            text = text.rstrip("\n") + "\n" + mark
            head = [fence.opening]
            if fence.containers and self._bared is None:
                self._leave_containers(fence, rest)
        elif self._in_table and not rest:
            size = sum(json_bytes(one) for one in self._table_head)
            head = list(self._table_head) if size <= self._bytes_max * HEAD_SHARE_MAX else []
        self._next_segment(text, [*(_Line(one, json_bytes(one), fence) for one in head), *rest])

    def _leave_containers(self, fence: Fence, rest: list[_Line]) -> None:
        """What goes on of this code goes on outside of its list or quote."""
        for line in rest:
            line.shown = fence.bare(line.shown.removesuffix("\n")) + "\n"
            line.size = json_bytes(line.shown)
            if line.fence != fence:
                return  # it has ended here
        if self._followed.fence == fence:
            self._bared = fence

    def _seal_before_table(self) -> None:
        """A card shows so many tables and no more: the table moves on, with its head."""
        head = self._lines.pop()
        self._next_segment(_text(self._lines), [head])
        self._tables = 1

    def _next_segment(self, text: str, lines: list[_Line]) -> None:
        self.sealed.append(text)
        self._lines = []
        self._bytes = 0
        self._block_end = self._block_end_bytes = 0
        self._tables = int(self._in_table)
        self._lines = lines
        self._bytes = sum(line.size for line in lines)

    def _cut(self, shown: str) -> tuple[str, int]:
        """Put as much of a line that fits no card into this one, and seal it."""
        left = self._bytes_max - self._bytes
        low, high = 1, len(shown)
        while low < high:  # the longest piece that fits
            middle = (low + high + 1) // 2
            if json_bytes(shown[:middle]) <= left:
                low = middle
            else:
                high = middle - 1
        self._append(shown[:low], json_bytes(shown[:low]))
        self._seal(self._followed.fence)
        return shown[low:], json_bytes(shown[low:])

    # ── the unfinished line ─────────────────────────────────────────────────

    def _safe_tail(self) -> str:
        """Return what no later text changes any more."""
        if not self._tail:
            return ""
        kind = self._followed.look(self._tail)
        if kind is LineKind.CODE:
            return self._tail if self._followed.in_long_line else self._bare(self._tail)
        if kind is LineKind.UNKNOWN:
            return ""
        return safe_beginning(
            self._tail,
            self._paragraph,
            self._picture_keys,
            may_be_mark=kind is LineKind.MARK,
        )[0]


def _text(lines: list[_Line]) -> str:
    return "".join([line.shown for line in lines])


def storable(text: str) -> str:
    """Replace what neither JSON nor the platform takes: NUL and lone surrogates."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode(errors="replace").decode()
    return text
