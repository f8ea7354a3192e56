"""The order in which the intake reads what the journal holds for it.

Part of the intake. A *pass* reads every row still ``received``, oldest first, a page at a
time between the messages of the mailbox, so that the start serves while it catches up. An
event that arrives while a pass is on its way, or waits, is left to it: so per-chat order is
the order of the journal whatever was left there.
"""

from __future__ import annotations

from typing import Final

from protocol.ids import RowId

ARRIVALS_MAX: Final = 8_192
"""Rows taken as they arrived that are remembered one by one; then a pass replaces them."""


class Reading:
    """Which rows were read, and which come next."""

    def __init__(self) -> None:
        self._cursor: RowId | None = RowId(0)
        self._again = False
        self._paused = False
        self._newest = RowId(0)
        self._passed = RowId(0)
        self._arrived: set[RowId] = set()

    @property
    def reads(self) -> bool:
        """Whether there is a page to be read now."""
        return self._cursor is not None and not self._paused

    @property
    def is_catching_up(self) -> bool:
        """Whether prompts that arrive are to wait for the pass."""
        return self._cursor is not None

    @property
    def after(self) -> RowId:
        """The row after which the next page begins."""
        assert self._cursor is not None
        return self._cursor

    def start_pass(self) -> None:
        """Read all that is ``received``: some of it can be taken now that could not before."""
        self._paused = False
        if self._cursor is None:
            self._cursor = RowId(0)
        elif self._cursor:
            self._again = True

    def pause(self) -> None:
        """No more can be held here; wait for :meth:`resume` with what the page has left."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    def read(self, row_id: RowId) -> None:
        """This row of the page was taken."""
        self._cursor = row_id
        self._newest = max(self._newest, row_id)

    def page_done(self, *, was_last: bool) -> None:
        if not was_last or self._paused:
            return
        if self._again:
            self._again, self._cursor = False, RowId(0)
            return
        self._cursor = None
        self._passed = max(self._passed, self._newest)
        self._arrived = {row_id for row_id in self._arrived if row_id > self._passed}

    def arrive(self, row_id: RowId) -> bool:
        """An event arrived: return whether it is news.

        Rows up to the newest that a pass was through with are not: it has taken them.
        """
        self._newest = max(self._newest, row_id)
        if row_id <= self._passed or row_id in self._arrived:
            return False
        self._arrived.add(row_id)
        if len(self._arrived) > ARRIVALS_MAX:
            self.start_pass()
        return True
