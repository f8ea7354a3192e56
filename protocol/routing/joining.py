"""Several messages, one prompt: which messages are joined, until when, and into what.

People send a picture and then write what is to be done with it. A picture or file opens a
window; what the same person sends to the same place while it is open joins, and starts the
time again. Times are those of receipt, in milliseconds: read again after a crash, the same
messages join.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from protocol.ids import OpenId
from protocol.routing.command import Command, Name
from protocol.routing.delivery import Prompt

WINDOW_MS: Final = 1_500
WINDOW_MS_MAX: Final = 5_000
"""From the first message, however many follow."""
JOINED_MAX: Final = 32
"""Messages of one prompt: their texts fit one frame of the wire."""
_OPENS: Final = frozenset({"image", "file", "media"})
_ENDS: Final = frozenset({Name.USE, Name.NEW, Name.CLOSE})


class Window(Struct, frozen=True, kw_only=True):
    """An open window of one person in one place."""

    sender_id: OpenId
    opened_at_ms: int
    closes_at_ms: int
    messages: int = 1


def opens(message_type: str) -> bool:
    """Whether a message is a picture or a file, which has no words of its own."""
    return message_type in _OPENS


def opened(sender_id: OpenId, at_ms: int) -> Window:
    return Window(sender_id=sender_id, opened_at_ms=at_ms, closes_at_ms=at_ms + WINDOW_MS)


def joined(window: Window, sender_id: OpenId, at_ms: int) -> Window | None:
    """Return the window with one more message; None: that one is a prompt of its own.

    A clock that went back closes nothing.
    """
    if sender_id != window.sender_id or window.messages >= JOINED_MAX:
        return None
    if at_ms >= window.closes_at_ms:
        return None
    closes_at_ms = min(at_ms + WINDOW_MS, window.opened_at_ms + WINDOW_MS_MAX)
    return msgspec.structs.replace(
        window,
        closes_at_ms=max(window.closes_at_ms, closes_at_ms),
        messages=window.messages + 1,
    )


def ends(command: Command) -> bool:
    """Whether a command ends the windows of its place: what comes after it goes elsewhere.

    To another session, or into another conversation of this one.
    """
    return command.name in _ENDS or (command.name is Name.RESUME and bool(command.args))


def prompt_of(messages: Sequence[Prompt]) -> Prompt:
    """Return what a session is given of *messages*, at least one, in order.

    What else is known of it is the first one's.
    """
    first = messages[0]
    if len(messages) == 1:
        return first
    return msgspec.structs.replace(
        first,
        content="\n\n".join(one.content for one in messages if one.content),
        joined=tuple(one.message_id for one in messages),
        attachments=tuple(attachment for one in messages for attachment in one.attachments),
    )
