"""A line of prose, made safe: at-tags mention nobody, and pictures of the web are links.

Inline code stays as it is, where it is surely code. Of a line that is still being
written only the part is shown whose meaning no later character can change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from protocol.cards.code_spans import LINES_BEFORE_MAX, Span, settled_before, sure_spans
from protocol.quoted import AT_TAG

NOTHING_IS_CODE: Final = ("",) * (LINES_BEFORE_MAX + 1)
"""As the lines before one: too many for anything in it to be surely code."""

IMAGE: Final = re.compile(
    r"!(\[(?:(?!!\[)[^\]\n])*+\])"
    r"\(\s*+<?((?:(?!!\[)[^\s)<>])++)>?((?:(?!!\[)[^)\n])*+)\)"
)
"""Nothing is taken back, and no picture reaches into the next: linear in the line's length."""
_UNSAFE: Final = re.compile(r"<\s*+/?\s*+at\b|!\[", re.IGNORECASE)
_IMAGE_KEY: Final = re.compile(r"img_[A-Za-z0-9_-]+")
_UNFINISHED: Final = re.compile(
    r"(?:<\s*+/?\s*+(?:a(?:t\b[^<>]*+)?)?"
    r"|!(?:\[(?:(?!!\[)[^\]\n])*+(?:\](?:\((?:(?!!\[)[^)\n])*+)?)?)?)$",
    re.IGNORECASE,
)
_BEGUN: Final = re.compile(r"(?:<\s*+/?\s*+a?|!)$", re.IGNORECASE)
"""What the next character may make an at-tag or a picture of."""


def safe_line(
    line: str, before: Sequence[str] = (), picture_keys: Mapping[str, str] | None = None
) -> str:
    """Make one line outside of fences safe, leaving its inline code as it is.

    *before* are the lines of its paragraph so far. Pictures are shown by their
    *picture_keys*; without one they are links.
    """
    if not _UNSAFE.search(line):
        return line
    return _safe(line, sure_spans(line, before), picture_keys or {})


def safe_beginning(
    line: str, before: Sequence[str], picture_keys: Mapping[str, str], *, may_be_mark: bool = False
) -> tuple[str, int]:
    """Make safe what is there of an unfinished line, as far as nothing can change it.

    Return what to show, and of how many of its characters. Held back is what may become
    an at-tag, a picture, or code with one of them in it; where the line *may_be_mark*
    of a fence, whatever would have to change if it is none.
    """
    if "<" not in line and "!" not in line:
        return line, len(line)  # all of them begin so
    spans = sure_spans(line, before)
    unfinished = _UNFINISHED.search(line, spans[-1][1] if spans else 0)
    end = unfinished.start() if unfinished else len(line)
    settled = 0 if may_be_mark else settled_before(line, before)
    for found in _UNSAFE.finditer(line, 0, end):
        image = IMAGE.match(line, found.start())
        if found.start() >= settled or (image is not None and image.end() > settled):
            end = found.start()
            break
    return _safe(line[:end], [span for span in spans if span[1] <= end], picture_keys), end


def safe_piece(
    line: str, before: Sequence[str], picture_keys: Mapping[str, str]
) -> tuple[str, int]:
    """Make safe a piece of a line that is too long to wait for its end.

    Return what to show, and of how many of its characters. What is not decided counts as
    prose, so that it stays harmless whatever follows it.
    """
    shown, end = safe_beginning(line, before, picture_keys)
    if end > len(line) // 2:
        return shown, end
    begun = _BEGUN.search(line)
    until = begun.start() if begun and begun.start() > end else len(line)
    return shown + AT_TAG.sub("&#60;", line[end:until]).replace("![", "&#33;["), until


def pictures_in(line: str, before: Sequence[str]) -> Iterator[str]:
    """Return the addresses of the pictures that a line of prose shows."""
    for piece, is_code in _pieces(line, sure_spans(line, before)):
        for image in () if is_code else IMAGE.finditer(piece):
            yield image[2]


def _safe(line: str, spans: Sequence[Span], picture_keys: Mapping[str, str]) -> str:
    def shown(image: re.Match[str]) -> str:
        if _IMAGE_KEY.fullmatch(image[2]):
            return image[0]
        key = picture_keys.get(image[2])
        return f"!{image[1]}({key})" if key else image[0][1:]

    return "".join(
        piece if is_code else IMAGE.sub(shown, AT_TAG.sub("&#60;", piece))
        for piece, is_code in _pieces(line, spans)
    )


def _pieces(line: str, spans: Sequence[Span]) -> Iterator[tuple[str, bool]]:
    """Cut a line into prose and what is surely code."""
    at = 0
    for start, end in spans:
        yield line[at:start], False
        yield line[start:end], True
        at = end
    yield line[at:], False
