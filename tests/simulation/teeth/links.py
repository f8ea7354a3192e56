"""Undone: what makes ownership learn that a link is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from actors.links.listener import _Ends
from actors.messages import ownership
from tests.simulation.teeth.tooth import replaced

WITHIN_S = 1.0


@contextmanager
def silent_end() -> Iterator[None]:
    """The end of a link is sent under a limit of a second, and then forgotten."""

    async def run(self: _Ends) -> None:
        while True:
            while self._unsent:
                ended = ownership.ConnectionEnded(connection_id=self._unsent.popleft())
                with trio.move_on_after(WITHIN_S):
                    await self._ownership_tx.send(ended)
            self._work = trio.Event()
            await self._work.wait()

    with replaced(_Ends, run=run):
        yield
