"""How the journal answers: after the commit its answer speaks of."""

from __future__ import annotations

import msgspec


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """The commit failed; nothing of it happened. ``reason`` is for log and status."""

    reason: str


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Committed. ``changed`` is false where there was nothing to change."""

    changed: bool = True
