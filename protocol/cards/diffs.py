"""What a step changes in files, as the lines that go and the lines that come."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from protocol.wire.messages import FileDiff

LINES_MAX: Final = 400
"""Of each side that are compared, the last ones: comparing takes the product of both."""


def unified(diffs: Sequence[FileDiff]) -> str:
    """Return each file's path and below it its ``+`` and ``-`` lines."""
    return "\n".join(line for one in diffs for line in (one.path, *_lines(one)))


def _lines(one: FileDiff) -> list[str]:
    new = one.new.splitlines()[-LINES_MAX:]
    if one.old is None:
        return [f"+{line}" for line in new]
    old = one.old.splitlines()[-LINES_MAX:]
    compared = difflib.unified_diff(old, new, n=0)
    # The first two lines name files, and those that begin with @@ are places.
    return [line for line in list(compared)[2:] if not line.startswith("@@")]
