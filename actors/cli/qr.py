"""A QR code in a terminal, drawn the same on light and on dark ones."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Final

import segno

from actors.host.terminal_text import can_print

_COLOURS: Final = "\x1b[97;40m"
"""White on black, whatever the terminal's own are: half of the scanners read no inverse."""
_RESET: Final = "\x1b[0m"
_BORDER: Final = 2
_WORDS: Final = 2
"""Lines below the code beside the links: what to do, and the time left."""
_UPPER: Final = "▀"
_WHOLE: Final = "█"
MODULES: Final = f"{_UPPER}▄{_WHOLE}"
"""What a code is drawn with: two modules, one above the other, are a character."""


def can_be_drawn(env: Mapping[str, str]) -> bool:
    """Whether the terminal of standard output has the characters, and colours at all."""
    return env.get("TERM") != "dumb" and can_print(MODULES)


def shown(links: list[str], columns: int, height: int) -> list[str]:
    """Return the lines that show *links*: the code of the first, and how to open each.

    Where the window of *columns* and *height* can't hold the code, what to change stands
    below it; where *columns* are too few, every line of it would be torn, and there is none.
    """
    code = _drawn(links[0])
    wide = len(code[0])
    if wide > columns:
        return [f"Open this link with Feishu or Lark ({wide} columns would show a code):", *links]
    below = _WORDS + sum(-(-len(link) // columns) for link in links)
    rows = [f"{_COLOURS}{row}{_RESET}" for row in code]
    if len(rows) + below > height:
        needed = f"{len(rows) + below} lines"
        rows.append(f"To scan the code, enlarge the window to {needed}, or make its text smaller.")
    return [*rows, "Scan the code with Feishu or Lark, or open this link:", *links]


def _drawn(link: str) -> list[str]:
    drawn = io.StringIO()
    code = segno.make(link, error="l", micro=False)
    code.terminal(drawn, compact=True, border=_BORDER)
    rows = drawn.getvalue().splitlines()
    if set(rows[-1]) == {_UPPER}:
        # An odd number of rows: the last line's lower half belongs to the border too.
        rows[-1] = rows[-1].replace(_UPPER, _WHOLE)
    return rows
