"""Shields with a deadline that can be shortened while they are open.

What must reach the other side on the way out runs in :meth:`CleanupBudget.shielded`.
A second signal shortens every one that is open, and those still to come.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class CleanupBudget:
    """How long a cleanup may take once it has begun, in seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._open: set[trio.CancelScope] = set()

    @property
    def seconds(self) -> float:
        return self._seconds

    @contextmanager
    def shielded(self) -> Iterator[trio.CancelScope]:
        """Run the body safe from outside cancellation, within the budget.

        Like :func:`trio.move_on_after`, it does not raise when time is up: look at
        ``cancelled_caught`` of the scope it gives.
        """
        with trio.move_on_after(self._seconds, shield=True) as scope:
            self._open.add(scope)
            try:
                yield scope
            finally:
                self._open.discard(scope)

    def shorten(self, seconds: float) -> None:
        """Let open cleanups end within *seconds* from now, and later ones take no longer."""
        self._seconds = min(self._seconds, seconds)
        until = trio.current_time() + seconds
        for scope in self._open:
            scope.deadline = min(scope.deadline, until)
