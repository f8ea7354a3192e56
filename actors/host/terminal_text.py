"""Printing to terminals whose characters are not all there are."""

from __future__ import annotations

import codecs
import io
import sys
from typing import Final

_INSTEAD: Final = {
    "✅": "ok",
    "❌": "!!",
    "⚠": "!",
    "❔": "?",
    "\N{VARIATION SELECTOR-16}": "",
    "→": "->",
    "…": "...",
    "●": "*",
}
"""What a reader understands in the place of a character that can't be printed."""
_HANDLER: Final = "larkd.instead"


def print_what_can_be() -> None:
    """Let no character that the locale lacks (zh_CN.GBK, ISO-8859-1) end a command.

    Standard error escapes such by itself.
    """
    codecs.register_error(_HANDLER, _instead)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_HANDLER)


def can_print(text: str) -> bool:
    """Whether standard output has every character of *text*."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _instead(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_INSTEAD.get(character, "?") for character in lacking), error.end
