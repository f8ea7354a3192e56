"""What the long connection's actor accepts."""

from __future__ import annotations

from actors.messages.base import Message


class Leave(Message, frozen=True, kw_only=True):
    """Close the socket and stay away; frames not yet journaled are not acked."""


ConnectionMessage = Leave
