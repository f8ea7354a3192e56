"""Which states a row is open or closed in, in SQL: the words of the schema's partial indexes.

SQLite takes a partial index for its own words only. They are no lists: for a list of more than
two values it makes a table, at each change of a row. And they are ``IS TRUE``: a condition on
one of these states would else take the index of all of them, too.
"""

from __future__ import annotations

from typing import Final

OPEN: Final = "(state = 'received' OR state = 'ready' OR state = 'offered') IS TRUE"
"""Waits, or is with a connection that has not acked it."""

CLOSED: Final = (
    "(state = 'answered' OR state = 'command' OR state = 'damaged'"
    " OR state = 'expired' OR state = 'refused') IS TRUE"
)
"""Nothing moves it out of these."""
