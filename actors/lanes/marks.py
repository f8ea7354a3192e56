"""What a channel session was given and has not answered: it carries the Typing mark."""

from __future__ import annotations

from typing import Final

import trio

from actors.lanes.peers import MarkMessage
from actors.messages import lane
from protocol.ids import RowId

MARKED_MAX: Final = 64
"""Messages of a channel session that carry the mark at once; more go without."""


class Marks:
    """The marked messages of one session."""

    def __init__(self, mark: MarkMessage) -> None:
        self._mark = mark
        self._marked: dict[RowId, lane.Given] = {}

    def add(self, given: lane.Given, nursery: trio.Nursery) -> None:
        """Show the mark until the message is answered or the session is gone."""
        if len(self._marked) < MARKED_MAX:
            nursery.start_soon(self._show, given)

    async def _show(self, given: lane.Given) -> None:
        self._marked[given.offer.row_id] = given
        try:
            await self._mark(given)
        finally:
            self._marked.pop(given.offer.row_id, None)

    def end(self, row_id: RowId) -> None:
        given = self._marked.get(row_id)
        if given is not None:
            given.end()

    def end_all(self) -> None:
        for given in self._marked.values():
            given.end()

    def read(self) -> None:
        """The session called a tool: it has read what it was given."""
        for given in self._marked.values():
            given.read.set()
