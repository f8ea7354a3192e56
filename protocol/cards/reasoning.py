"""Splits an agent's text into answer and reasoning, as it comes.

Reasoning is what stands in a ``<think>`` block (or ``<thinking>``, ``<thought>``,
``<antthinking>``) outside of code, or after a ``Reasoning:`` line at the very start,
whose lines are in underscores. Nothing is decided on what may still change: the
beginning of a tag at the end of a delta waits for the next one. Each character is
looked at once.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from protocol.wire.vocabulary import DeltaChannel

Piece = tuple[DeltaChannel, str]

_NAMES: Final = ("think", "thinking", "thought", "antthinking")
_OPEN: Final = {f"<{name}>": name for name in _NAMES}
_TOKEN: Final = re.compile(r"<(?:think|thinking|thought|antthinking)>|`+|~{3,}|\n")
_PREFIX: Final = "Reasoning:\n_"
_BEGINNINGS: Final = frozenset(tag[:size] for tag in _OPEN for size in range(1, len(tag)))
_FENCE_MIN: Final = 3
_INDENT: Final = 4


class _State(Enum):
    START = auto()
    PREFIXED = auto()
    TEXT = auto()
    FENCE = auto()
    INLINE = auto()
    THINK = auto()


class ReasoningSplitter:
    """Feed it deltas; it returns pieces in order. :meth:`finish` returns what waited."""

    def __init__(self) -> None:
        self._state = _State.START
        self._held = ""
        self._line_blank = True  # nothing but white space on this line so far
        self._last_newline = True  # the character before was a line end
        self._mark = ""  # the fence or backticks that are open
        self._name = ""
        self._line = ""  # how this line begins
        self._after_blank = True  # the line before was blank, or indented code, or there is none
        self._unclosed: list[str] = []
        self._answered = False

    def feed(self, text: str) -> list[Piece]:
        return self._run(text, final=False)

    def feed_tail(self, text: str) -> list[Piece]:
        """Take what belongs below the text so far; a block that is still open ends before it."""
        pieces = self._run("", final=True) if self._state is _State.THINK else []
        if self._state is _State.THINK:
            self._state, self._line, self._after_blank = _State.TEXT, "", True
            self._line_blank = self._last_newline = True
        return pieces + self.feed(text)

    def finish(self) -> list[Piece]:
        """End the text. An unclosed block with no answer beside it becomes the answer."""
        pieces = self._run("", final=True)
        if self._state is _State.THINK and not self._answered:
            pieces.append(("answer", "".join(self._unclosed)))
        return pieces

    def _run(self, text: str, *, final: bool) -> list[Piece]:
        text, self._held = self._held + text, ""
        pieces: list[Piece] = []
        while text:
            before = len(text), self._state
            text = self._step(text, pieces, final=final)
            if (len(text), self._state) == before:
                self._held = text
                break
        return pieces

    def _step(self, text: str, pieces: list[Piece], *, final: bool) -> str:
        match self._state:
            case _State.START:
                return self._start(text, final=final)
            case _State.PREFIXED:
                return self._prefixed(text, pieces, final=final)
            case _State.THINK:
                return self._think(text, pieces, final=final)
            case _:
                return self._plain(text, pieces, final=final)

    def _start(self, text: str, *, final: bool) -> str:
        if text.startswith(_PREFIX):
            self._state = _State.PREFIXED
            return text[len(_PREFIX) - 1 :]
        if not final and _PREFIX.startswith(text):
            return text
        self._state = _State.TEXT
        return text

    def _prefixed(self, text: str, pieces: list[Piece], *, final: bool) -> str:
        line, newline, rest = text.partition("\n")
        if not newline and not final and line.startswith("_"):
            return text
        if line.startswith("_") and line.rstrip().endswith("_") and len(line.rstrip()) > 1:
            pieces.append(("reasoning", line.rstrip()[1:-1] + newline))
            return rest
        self._state = _State.TEXT
        return text.lstrip("\n") if not line else text

    def _think(self, text: str, pieces: list[Piece], *, final: bool) -> str:
        close = f"</{self._name}>"
        at = text.find(close)
        if at >= 0:
            self._reason(text[:at], pieces)
            self._state, self._unclosed = _State.TEXT, []
            return text[at + len(close) :]
        keep = 0 if final else _overlap(text, close)
        self._reason(text[: len(text) - keep], pieces)
        return text[len(text) - keep :]

    def _reason(self, text: str, pieces: list[Piece]) -> None:
        if text:
            pieces.append(("reasoning", text))
            self._unclosed.append(text)

    def _plain(self, text: str, pieces: list[Piece], *, final: bool) -> str:
        """Text outside of a block: look for tags, and for code in which they are text."""
        found = _TOKEN.search(text)
        if found is None:
            keep = 0 if final else _tail(text)
            self._answer(text[: len(text) - keep], pieces)
            return text[len(text) - keep :]
        token, end = found[0], found.end()
        grows = token[0] in "`~" and end == len(text) and not final
        if grows:
            self._answer(text[: found.start()], pieces)
            return text[found.start() :]
        self._answer(text[: found.start()], pieces)
        if token in _OPEN and self._state is _State.TEXT and not self._in_indented_code():
            self._state, self._name = _State.THINK, _OPEN[token]
            return text[end:]
        starts_line = self._line_blank
        self._answer(token, pieces)
        self._code(token, starts_line=starts_line)
        return text[end:]

    def _answer(self, text: str, pieces: list[Piece]) -> None:
        if not text:
            return
        self._answered = self._answered or not text.isspace()
        pieces.append(("answer", text))
        *whole, line = text.split("\n")
        for each in whole:
            self._end_line(_head(self._line + each))
        self._line = _head(self._line + line)
        if "\n" in text:
            self._line_blank = not line.strip()
        else:
            self._line_blank = self._line_blank and not line.strip()

    def _end_line(self, line: str) -> None:
        """Follow indented code: it needs a blank line before it (CommonMark 0.31, 4.4)."""
        is_code = self._after_blank and _indented(line)
        self._after_blank, self._line = is_code or not line.strip(), ""

    def _in_indented_code(self) -> bool:
        return self._after_blank and _indented(self._line)

    def _code(self, token: str, *, starts_line: bool) -> None:
        """Follow code fences and inline code."""
        if token == "\n":  # noqa: S105  # a piece of text
            if self._state is _State.INLINE and self._last_newline:
                self._state = _State.TEXT  # inline code ends with its paragraph
            self._last_newline = True
            return
        self._last_newline = False
        if token[0] not in "`~":
            return  # a tag that is code: it opens none
        match self._state:
            case _State.TEXT if starts_line and len(token) >= _FENCE_MIN:
                self._state, self._mark = _State.FENCE, token
            case _State.TEXT if token[0] == "`":
                self._state, self._mark = _State.INLINE, token
            case _State.FENCE if (
                starts_line and token[0] == self._mark[0] and len(token) >= len(self._mark)
            ):
                self._state = _State.TEXT
            case _State.INLINE if token == self._mark:
                self._state = _State.TEXT


def _head(line: str) -> str:
    """Return how a line begins: its indentation, as far as it counts, and one character."""
    text = line.lstrip(" \t")
    return line[: len(line) - len(text)][:_INDENT] + text[:1]


def _indented(line: str) -> bool:
    return line[:_INDENT].expandtabs(_INDENT).startswith(" " * _INDENT)


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of *text* may be the beginning of *tag*."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-size:]):
            return size
    return 0


def _tail(text: str) -> int:
    """How many characters at the end may be the beginning of a tag, or of a fence."""
    if text.endswith("~"):
        return len(text) - len(text.rstrip("~"))
    at = text.rfind("<")
    return len(text) - at if at >= 0 and text[at:] in _BEGINNINGS else 0
