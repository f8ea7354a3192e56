"""A QR code in a terminal, drawn the same on light and on dark ones."""

from __future__ import annotations

import io
from typing import Final

import segno

_COLOURS: Final = "\x1b[97;40m"
"""White on black, whatever the terminal's own are: half of the scanners read no inverse."""
_RESET: Final = "\x1b[0m"
_BORDER: Final = 2
_UPPER: Final = "▀"
_WHOLE: Final = "█"


def lines(link: str, columns: int) -> list[str]:
    """Return the code's lines, two rows of modules each; none where *columns* are too few."""
    code = segno.make(link, error="l", micro=False)
    drawn = io.StringIO()
    code.terminal(drawn, compact=True, border=_BORDER)
    rows = drawn.getvalue().splitlines()
    if rows and set(rows[-1]) == {_UPPER}:
        # An odd number of rows: the last line's lower half belongs to the border too.
        rows[-1] = rows[-1].replace(_UPPER, _WHOLE)
    if not rows or max(map(len, rows)) > columns:
        return []
    return [f"{_COLOURS}{row}{_RESET}" for row in rows]
