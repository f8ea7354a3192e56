"""What statements about the journal run on: one connection of either store.

A statement's placeholders are ``?1``, ``?2`` …; its values are text, bytes, whole numbers
and None. A store may send a statement before it reads the answer of an earlier one, so
what only changes rows answers :class:`Later`, and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from actors.messages import journal

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

SqlValue = str | bytes | int | None
Row = tuple[Any, ...]


class Cursor(Protocol):
    """What of a driver's cursor is used."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class ResultRows:
    """The answer of one statement. Reading it may wait for the server."""

    __slots__ = ("_cursor",)

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def one(self) -> Row | None:
        """Return the first row; None where there is none. Asked once."""
        row: Row | None = self._cursor.fetchone()
        return row

    def all(self) -> list[Row]:
        """Return all rows. Asked once, and not after :meth:`one`."""
        return self._cursor.fetchall()

    def count(self) -> int:
        """Return how many rows the statement changed or returned."""
        return self._cursor.rowcount


class Db(Protocol):
    """A connection inside a transaction of its store."""

    def execute(self, sql: str, *values: SqlValue) -> ResultRows:
        """Run one statement. What is wrong with it may only show when its rows are read."""


class Later(Generic[T_co]):
    """An answer that is read once the batch is sent, from the same transaction."""

    __slots__ = ("read",)

    def __init__(self, read: Callable[[], T_co]) -> None:
        self.read = read


def read(answer: T | Later[T]) -> T:
    """Return a handler's answer, whether it was read at once or is to be read now."""
    return answer.read() if isinstance(answer, Later) else answer


def change(db: Db, sql: str, *values: SqlValue) -> Later[journal.Done]:
    """Run a statement that only changes rows; the answer states whether it changed any."""
    rows = db.execute(sql, *values)
    return Later(lambda: journal.Done(changed=rows.count() > 0))


def the_one(rows: ResultRows) -> Row:
    """Return the row of a statement that always has one."""
    row = rows.one()
    assert row is not None, "a statement that always answers one row answered none"
    return row
