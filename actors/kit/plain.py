"""Text that others wrote, made harmless for a terminal and for a file that one may show."""

from __future__ import annotations

import json
from typing import Final

LINES: Final = "\n\t\u00a0\u3000"
"""What whole texts may hold beside printable characters: ends of lines, and spaces."""
BEGINNING_CHARACTERS_MAX: Final = 1_000
"""Of what a stranger sent, in an error of ours."""


def plain(text: str, keep: str = "") -> str:
    r"""Return *text* with what draws nothing, moves the cursor or turns the direction escaped.

    As JSON escapes it (``\u202e``), so JSON text stays JSON; so does half of a surrogate pair,
    which can't be written otherwise. Characters of *keep* stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else json.dumps(c)[1:-1] for c in text)


def plain_part(text: str) -> str:
    """Return what somebody who has proved nothing sent, as part of a line of ours."""
    return plain(text[:BEGINNING_CHARACTERS_MAX])
