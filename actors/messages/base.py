"""The one base of all messages that stay inside the daemon."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Frozen and keyword-only; compared by identity, since it may carry a reply."""
