"""What an ACP agent lists of its own sessions: ``session/list``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from protocol import foreign

CANNOT_RESUME: Final = "it can't resume earlier conversations"
"""Why nothing is listed, nor brought back; daemon and proxy both know it."""
LISTED_MAX: Final = 20
PAGES_MAX: Final = 10
"""Some agents list what was done in every directory."""


class Listed(Struct, frozen=True, kw_only=True):
    id: str
    title: str | None = None
    used_at_ms: int | None = None


def read_page(result: Mapping[str, Any], cwd: str) -> tuple[list[Listed], str]:
    """Return the sessions of *cwd* on one page, and the cursor of the next; empty: the last."""
    page = list(_of_directory(foreign.mappings(result.get("sessions")), cwd))
    return page, foreign.text(result, "nextCursor")


def newest_first(listed: list[Listed], without: str) -> list[Listed]:
    """Return what is offered to people: not the session they are in, and no more than a few.

    Of the same moment, or where none is known, the agent's own order holds.
    """
    others = [one for one in listed if one.id != without]
    return sorted(others, key=lambda one: -(one.used_at_ms or 0))[:LISTED_MAX]


def _of_directory(listed: list[Mapping[str, Any]], cwd: str) -> Iterator[Listed]:
    for one in listed:
        if foreign.text(one, "sessionId") and foreign.text(one, "cwd") in ("", cwd):
            yield Listed(
                id=foreign.text(one, "sessionId"),
                title=foreign.text(one, "title") or None,
                used_at_ms=_moment(foreign.text(one, "updatedAt")),
            )


def _moment(text: str) -> int | None:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
