"""How ``--help`` is laid out: prose filled to the terminal, examples as they stand."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import Final

WIDTH_MAX: Final = 100
"""Longer lines of prose are hard to read, however wide the terminal is."""


class HelpText(argparse.HelpFormatter):
    """Fills descriptions paragraph by paragraph; lines that are indented are left alone."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(_filled(text.strip("\n"), min(width, WIDTH_MAX), indent))


def _filled(text: str, width: int, indent: str) -> Iterator[str]:
    for is_prose, lines in groupby(text.splitlines(), _is_prose):
        if is_prose:
            yield textwrap.fill(" ".join(lines), width, initial_indent=indent)
        else:
            yield from (indent + line for line in lines)


def _is_prose(line: str) -> bool:
    return bool(line) and not line.startswith(" ")
