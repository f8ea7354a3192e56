"""The short name people use for a session in chat (the specification's ``wire.md``, Opening)."""

from __future__ import annotations

import unicodedata
from collections.abc import Container
from typing import Final

from protocol.quoted import BLANKS

CHARACTERS_MAX: Final = 64
"""A suffix included."""
_KEPT: Final = frozenset("._-")


def clean(name: str) -> str:
    """Return *name* as an alias: casefolded, NFC, and of characters that can be typed.

    Letters and digits of every script stay, with the marks that combine with them; a run
    of anything else becomes one ``-``, and so does what shows nothing, though Unicode counts
    it among letters and marks: no two names look the same for it. Never longer than
    ``CHARACTERS_MAX``.
    """
    kept: list[str] = []
    dropping = combines = False
    for character in unicodedata.normalize("NFC", name.casefold()):
        kind = unicodedata.category(character)
        is_word = kind[0] == "L" or kind == "Nd" or (kind[0] == "M" and combines)
        is_word = is_word and character not in BLANKS
        if is_word or character in _KEPT:
            kept.append(character)
            dropping = False
        elif not dropping:
            kept.append("-")
            dropping = True
        combines = is_word
    return "".join(kept)[:CHARACTERS_MAX]


def unique(name: str, taken: Container[str]) -> str:
    """Return the alias of *name*, with ``-2``, ``-3`` … where it is *taken*."""
    base = chosen = clean(name)
    number = 2
    while chosen in taken:
        suffix = f"-{number}"
        chosen = base[: CHARACTERS_MAX - len(suffix)] + suffix
        number += 1
    return chosen
