"""Fenced code, line by line: where it begins and ends, also inside quotes and lists.

CommonMark 0.31, sections 4.5 (fenced code blocks), 5.1 (block quotes) and 5.2 (list
items), as far as it takes to know whether a line is code: a fence belongs to the quotes
and list items it stands in, and ends with them. Where a line might be prose it counts
as prose: what is made safe without need is a blemish, what is not is a mention.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from msgspec import Struct

_QUOTE: Final = re.compile(r" {0,3}> ?")
_ITEM: Final = re.compile(r" {0,3}(?:[-*+]|[0-9]{1,9}[.)])(?: {1,4}(?=[^ ])|(?= *$))")
_RULE: Final = re.compile(r" {0,3}([-*_])(?: *\1){2,} *")
_FENCE: Final = re.compile(r" {0,3}(`{3,200}+(?!`)|~{3,200}+(?!~))(.*)")
"""A longer mark would not fit twice on a card: what it opens counts as prose."""
_CLOSING: Final = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*")
_HEADING: Final = re.compile(r" {0,3}#{1,6}(?: .*|$)")
_ITEM_START: Final = re.compile(r" {0,3}(?:[-*+]|1[.)]) +[^ ]")
"""What may stand right below a paragraph and begin a list."""
_QUOTED: Final = 0
"""Stands for a quote among containers; a list item is its width."""
CONTAINERS_MAX: Final = 100
"""Deeper than this nothing is nested: the time for a line grows with its depth."""
INFO_CHARACTERS_MAX: Final = 100
"""Of a fence's info that is repeated; a longer one goes on without."""


class Fence(Struct, frozen=True, kw_only=True):
    """An open code fence, and the containers it stands in, the outermost first."""

    mark: str
    info: str
    containers: tuple[int, ...] = ()

    @property
    def opening(self) -> str:
        """A line that opens this fence again, in no container."""
        info = self.info if len(self.info) <= INFO_CHARACTERS_MAX else ""
        return f"{self.mark}{info}\n"

    @property
    def closing(self) -> str:
        """What closes it where it stands, without a line's end."""
        prefix = "".join("> " if one == _QUOTED else " " * one for one in self.containers)
        return prefix + self.mark

    def bare(self, line: str) -> str:
        """Return a line of its code without the containers."""
        matched, inside = _matched(line, self.containers)
        return inside if matched == len(self.containers) else line


class LineKind(Enum):
    """What the beginning of a line belongs to."""

    CODE = auto()
    PROSE = auto()
    MARK = auto()
    """It is the mark of a fence, if nothing comes that makes it prose."""
    UNKNOWN = auto()
    """White space, or marks of quotes, that may lead to more code or out of it."""


class _Line(Struct):
    """A line, of which more pieces may come."""

    is_code: bool
    is_blank: bool = False
    """Prose of which nothing but white space has come."""
    closing: str = ""
    """What is there of it, if that closes its fence; white space at its end is one blank."""
    opening: Fence | None = None
    """What it opens, if nothing comes that makes it prose."""
    before: tuple[tuple[int, ...], bool, bool] = ((), False, False)
    """Containers, paragraph and empty item before it."""
    beginning: str = ""

    def go_on(self, piece: str, fence: Fence | None) -> None:
        if self.closing and fence is not None:
            self.closing = _closing(self.closing + piece, fence)
        if self.opening is not None and self.opening.mark[0] == "`" and "`" in piece:
            self.opening = None


class Lines:
    """Follows the lines of a text."""

    def __init__(self) -> None:
        self.fence: Fence | None = None
        """The fence that is open after the last line."""
        self._containers: tuple[int, ...] = ()
        self._in_paragraph = False
        self._item_is_empty = False
        """The innermost container is a list item of which only the marker has come."""
        self._long: _Line | None = None

    def take(self, line: str, *, goes_on: bool = False) -> bool:
        """Take one line, with or without its end; return whether it is code or a fence's mark.

        With *goes_on* it is a piece of a long line, and what is taken next is more of it. The
        mark of a fence, so long, counts as prose.
        """
        piece = _expanded(line)
        long, is_whole = self._long, self._long is None and not goes_on
        if long is None:
            long = self._begin(piece)
        else:
            opened = long.opening is not None
            long.go_on(piece, self.fence)
            if opened and long.opening is None:  # prose after all: it may go on with what was there
                self._containers, self._in_paragraph, self._item_is_empty = long.before
                self._begin(f"{long.beginning}`")
            if long.is_blank and piece.strip():
                long.is_blank, self._in_paragraph = False, True
        self._long = long if goes_on else None
        if goes_on:
            return long.is_code
        if long.closing:
            self.fence = None
        elif long.opening is not None:
            self.fence, self._in_paragraph = long.opening, False
            return is_whole
        return long.is_code

    def _begin(self, piece: str) -> _Line:
        if self.fence is not None:
            matched, rest = _matched(piece, self.fence.containers)
            if matched == len(self.fence.containers):
                return _Line(is_code=True, closing=_closing(rest, self.fence))
            self.fence, self._in_paragraph = None, False  # its container has ended
        before = self._containers, self._in_paragraph, self._item_is_empty
        rest = self._enter(piece)
        # What is indented by four in a paragraph goes on with it, and is code elsewhere.
        self._in_paragraph = bool(rest.strip()) and (
            self._in_paragraph or not rest.startswith("    ")
        )
        if _RULE.fullmatch(rest) or _HEADING.fullmatch(rest):
            self._in_paragraph = False
        opening = _opening(rest, self._containers)
        return _Line(
            is_code=False,
            is_blank=not rest.strip(),
            opening=opening,
            before=before,
            beginning=piece,
        )

    @property
    def in_long_line(self) -> bool:
        """Whether what is taken next is more of a line."""
        return self._long is not None

    def look(self, beginning: str) -> LineKind:
        """Return what an unfinished line is that begins so, as far as it is known."""
        if self._long is not None:
            return LineKind.CODE if self._long.is_code else LineKind.PROSE
        line = _expanded(beginning)
        if self.fence is not None:
            matched, rest = _matched(line, self.fence.containers)
            if matched == len(self.fence.containers):
                return LineKind.CODE
            if not rest.strip():
                return LineKind.UNKNOWN
        known = self.fence, self._containers, self._in_paragraph, self._item_is_empty
        opening = self._begin(line).opening
        self.fence, self._containers, self._in_paragraph, self._item_is_empty = known
        return LineKind.MARK if opening else LineKind.PROSE

    def _enter(self, line: str) -> str:
        """Follow the containers of a line; return what stands inside of them."""
        matched, rest = _matched(line, self._containers)
        if self._item_is_empty and not rest.strip():
            self._containers = self._containers[:-1]  # it may begin with one blank line, no more
            matched = min(matched, len(self._containers))
        self._item_is_empty = False
        if matched < len(self._containers):
            if self._in_paragraph and rest.strip() and not _begins(rest):
                return rest  # a lazy line: the paragraph goes on, and so do its containers
            self._in_paragraph = False
        kept = list(self._containers[:matched])
        while len(kept) < CONTAINERS_MAX and rest.strip():
            quote = _QUOTE.match(rest)
            item = None if quote or _RULE.fullmatch(rest) else _ITEM.match(rest)
            if item and self._in_paragraph and not _ITEM_START.match(rest):
                break
            if quote:
                kept.append(_QUOTED)
                rest = rest[quote.end() :]
            elif item:
                rest = rest[item.end() :]
                self._item_is_empty = not rest.strip()
                kept.append(item.end() + self._item_is_empty)
            else:
                break
            self._in_paragraph = False
        self._containers = tuple(kept)
        return rest


def _matched(line: str, containers: tuple[int, ...]) -> tuple[int, str]:
    """Return how many containers a line goes on in, and what is left of it there."""
    rest = line
    for at, container in enumerate(containers):
        if container == _QUOTED:
            quote = _QUOTE.match(rest)
            if quote is None:
                return at, rest
            rest = rest[quote.end() :]
        elif rest.strip():
            if len(rest) - len(rest.lstrip(" ")) < container:
                return at, rest
            rest = rest[container:]
        else:
            rest = ""
    return len(containers), rest


def _begins(rest: str) -> bool:
    """Whether a line begins a block of its own, and so goes on with no paragraph."""
    return bool(
        _opening(rest, ())
        or _QUOTE.match(rest)
        or _RULE.fullmatch(rest)
        or _ITEM.match(rest)
        or _HEADING.fullmatch(rest)
    )


def _expanded(line: str) -> str:
    line = line.rstrip("\n")
    return line.expandtabs(4) if "\t" in line else line


def _opening(rest: str, containers: tuple[int, ...]) -> Fence | None:
    found = _FENCE.fullmatch(rest)
    if found is None or (found[1][0] == "`" and "`" in found[2]):
        return None
    return Fence(mark=found[1], info=found[2].rstrip(), containers=containers)


def _closing(line: str, fence: Fence) -> str:
    """Return a line that closes *fence* in short; empty: it does not."""
    if not _closes(line, fence):
        return ""
    return fence.mark + (" " if line.endswith((" ", "\t")) else "")


def _closes(line: str, fence: Fence) -> bool:
    found = _CLOSING.fullmatch(line)
    return found is not None and found[1].startswith(fence.mark)
