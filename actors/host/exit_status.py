"""What the process's exit status means; a contract with whoever starts it."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    ORDERLY = 0
    FAILED = 1
    """Failed while running, or could not open what it needs."""
    USAGE = 2
    """Bad usage or configuration."""
    RUNNING = 3
    """Another daemon serves the state directory."""
    CREDENTIALS = 4
    """The platform refused the credentials."""
