"""``larkd top``: the status again and again, in place, until Ctrl-C or ``q``."""

from __future__ import annotations

import argparse
import contextlib
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from typing import Final

from actors.cli import status, terminal
from actors.cli.output import CommandFailed, Output
from protocol.config.places import StateDir

EVERY_S: Final = 1.0
_ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""The alternate screen, without a cursor: what was on the terminal comes back afterwards."""
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_CLEAR_LINE: Final = "\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"
_QUIT: Final = frozenset({"q", "Q", "\x03", "\x04"})


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Draw until a key quits it; where there is no terminal, or with ``--once``, draw once.

    With ``--json`` it is the status, which is one map.

    Raises:
        CommandFailed: no daemon serves the directory when it starts. Later losses are shown.
    """
    if parsed.json:
        return status.run(state, parsed)
    shown = _shown(state)
    if parsed.once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        return Output(shown)
    with _screen():
        while True:
            _draw(shown)
            if _quit_within(EVERY_S):
                break
            try:
                shown = _shown(state)
            except CommandFailed as lost:
                shown = terminal.cut(str(lost), terminal.columns())
    return Output("")


def _shown(state: StateDir) -> str:
    return status.as_text(status.with_progress(state, status.fetch(state)))


def _draw(shown: str) -> None:
    size = terminal.size()
    title = terminal.cut(f"larkd top   {time.strftime('%H:%M:%S')}   q quits", size.columns)
    lines = [title, *shown.splitlines()][: size.lines]
    body = "\n".join(line + _CLEAR_LINE for line in lines)
    sys.stdout.write(_HOME + body + _CLEAR_BELOW)
    sys.stdout.flush()


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """The terminal ours: no echo, key by key, and as it was at the end."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        # Output stays cooked: a newline still returns the carriage.
        tty.setcbreak(descriptor)
        sys.stdout.write(_ENTER)
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _quit_within(seconds: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    try:
        return bool(ready) and sys.stdin.read(1) in {*_QUIT, ""}
    except OSError:  # the terminal has gone
        return True
