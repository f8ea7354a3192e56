"""A path on a command line. Nothing slow is imported for help."""

from __future__ import annotations

import argparse
from pathlib import Path


def named_path(text: str) -> Path:
    """Return the path; it may have any characters, and has some.

    Raises:
        ArgumentTypeError: it is empty, which a shell makes of a variable that is not set.
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name one, or leave the option out")
    return Path(text)
