"""Work of the loop's own that nothing can interrupt, kept from holding up everybody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import trio

REST: Final = 3.0
"""Each piece is followed by so many times its own time in which no other one begins."""

T = TypeVar("T")


class Heavy:
    """Does pieces of work one after the other, whoever asks, with a rest after each.

    All of them together take a quarter of the loop at most, so whoever brings much waits for
    his own and for others of his kind; what is small is done beside them, without asking here.
    """

    def __init__(self) -> None:
        self._order = trio.StrictFIFOLock()

    async def run(self, work: Callable[[], T]) -> T:
        """Do *work* when its turn comes; return what it returns, after the rest.

        Cancelled while it waits, it is not done; in the rest, its result is lost.
        """
        async with self._order:
            began_at = trio.current_time()
            result = work()
            await trio.sleep((trio.current_time() - began_at) * REST)
        return result

    async def settle(self, cost_s: float) -> None:
        """Wait for work that was done already, or is done elsewhere, as if it were done here."""
        async with self._order:
            await trio.sleep(cost_s * REST)
