"""What others wrote, inside text of ours: it mentions nobody, breaks no line, draws nothing.

Aliases, paths, names of agents, excerpts and errors all go through here, on their way into
plain messages (:func:`quoted`), into Markdown of a card (:func:`in_card`) and into the
code block of an approval (:func:`visible`).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Final

QUOTED_CHARACTERS_MAX: Final = 1_000
"""Of one quoted value; what is longer ends with an ellipsis."""
LOOKED_AT: Final = 8
"""Times as many characters as are shown."""
CHARACTERS_KNOWN_MAX: Final = 20_000
AT_TAG: Final = re.compile(r"<(?=\s*+/?\s*+at\b)", re.IGNORECASE)
"""Where a tag begins that may mention somebody, in any case."""
_MARK: Final = re.compile(r"[\\`*_\[\]<>#!~]|&(?=#?\w+;)")
"""What Markdown, the platform's tags in it or its entities may be made of within one line. A
command such as ``a (b) && c | d`` has none of it, and stays as it is."""
BLANKS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    chr(code) for code in (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
)
"""Characters that show nothing, though their category is that of a letter or a mark."""
_JOINERS: Final = frozenset("\u200c\u200d\ufe0f")
"""They join or separate letters and emoji: ordinary text needs them."""


def quoted(text: str, characters_max: int = QUOTED_CHARACTERS_MAX) -> str:
    """Return *text* as one line of a plain message of ours.

    Runs of white space become one space, characters that can't be seen or turn the
    direction become their code, and no ``<at>`` of it is a tag.
    """
    return _cut(AT_TAG.sub("\uff1c", _one_line(text, characters_max)), characters_max)


def in_card(text: str, characters_max: int = QUOTED_CHARACTERS_MAX) -> str:
    """Return *text* as one line in the Markdown of a card: nothing in it is a mark."""
    return _MARK.sub(_entity, _cut(_one_line(text, characters_max), characters_max))


def _entity(mark: re.Match[str]) -> str:
    # The platform names its entities; it has none by number for the tilde.
    return "&sim;" if mark[0] == "~" else f"&#{ord(mark[0])};"


def _one_line(text: str, characters_max: int) -> str:
    # Of very long texts no more is looked at than can be shown, blanks between words included.
    near = text[: characters_max * LOOKED_AT]
    return visible(" ".join(near.split()), keep=_JOINERS) + "…" * (len(near) < len(text))


def _cut(shown: str, characters_max: int) -> str:
    return shown if len(shown) <= characters_max else shown[: characters_max - 1] + "…"


def visible(text: str, keep: frozenset[str] = frozenset()) -> str:
    """Return *text* with every character that can't be seen as its code, such as ``⟨U+202E⟩``.

    Line ends and tabs stay, and what *keep* names.
    """
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_shown_as(keep))


class _ShownAs(dict[int, str]):
    """What each character is shown as, found out when it first occurs."""

    def __init__(self, keep: frozenset[str]) -> None:
        super().__init__()
        self._keep = keep

    def __missing__(self, code: int) -> str:
        character = chr(code)
        hidden = character not in self._keep and _is_hidden(character)
        shown = f"⟨U+{code:04X}⟩" if hidden else character
        if len(self) < CHARACTERS_KNOWN_MAX:
            self[code] = shown
        return shown


@functools.cache
def _shown_as(keep: frozenset[str]) -> _ShownAs:
    return _ShownAs(keep)


def _is_hidden(character: str) -> bool:
    if character in "\n\t":
        return False
    # Control, format, surrogate, private, unassigned; line and paragraph separators; blanks.
    category = unicodedata.category(character)
    return category[0] == "C" or category in ("Zl", "Zp") or character in BLANKS
