"""Undone: what makes ownership learn that a link is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

from actors.links.notices import EndNotices
from tests.simulation.regressions.regression import replaced

WITHIN_S = 1.0


@contextmanager
def silent_end() -> Iterator[None]:
    """The end of a link is sent under a limit of a second, and then forgotten."""

    async def run(self: EndNotices[Any]) -> None:
        while True:
            while self._unsent:
                ended = self._unsent.popleft()
                with trio.move_on_after(WITHIN_S):
                    await self._mailbox.send(ended)
            self._work = trio.Event()
            await self._work.wait()

    with replaced(EndNotices, run=run):
        yield
