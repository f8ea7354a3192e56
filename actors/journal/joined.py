"""Rows that are one prompt together: what happens to one of them happens to the others.

``inbound.joined_to`` is the row of the first message, for all of them; NULL for a row that
is a prompt alone. They become ready, are offered, delivered, released and answered by the
same statement, so that they share their state whatever dies in between. The oldest of those
that are left leads.
"""

from __future__ import annotations

from typing import Final

TOGETHER: Final = (
    "(SELECT row_id FROM inbound WHERE row_id = {row}"
    " UNION ALL SELECT other.row_id FROM inbound AS one JOIN inbound AS other"
    " ON other.joined_to = one.joined_to AND other.state = one.state WHERE one.row_id = {row})"
)
"""The row *row*, and those joined to it that are in its state."""

PROMPT: Final = "coalesce(-joined_to, row_id)"
"""One number for each prompt, however many rows it is of.

A row that left those joined to it, as its session takes one message at a time, has another
one than they have.
"""

PROMPTS: Final = f"SELECT DISTINCT {PROMPT} FROM inbound"  # noqa: S608 -- our own constant


def together(row: str) -> str:
    """Return, in SQL, the rows that share the state of the row named by a placeholder."""
    return TOGETHER.format(row=row)
