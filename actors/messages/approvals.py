"""What the approvals actor accepts."""

from __future__ import annotations

import trio

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from actors.messages.intake import Toast
from actors.messages.link import LinkMessage
from protocol.cards.approval import Place, Press
from protocol.ids import ConnectionId, SessionId, TurnId
from protocol.wire.messages import PermissionRequest


class Ask(Message, frozen=True, kw_only=True):
    """An agent asks for permission; the verdict goes to *link*."""

    connection_id: ConnectionId
    session_id: SessionId
    alias: str
    turn_id: TurnId | None
    place: Place
    request: PermissionRequest
    link: trio.MemorySendChannel[LinkMessage]


class Closed(Message, frozen=True, kw_only=True):
    """It was decided elsewhere, as the proxy says."""

    connection_id: ConnectionId
    request_id: str
    reason: str


class TurnOver(Message, frozen=True, kw_only=True):
    """The turn ended or was cancelled: what it still asks needs no answer."""

    turn_id: TurnId


class ConnectionOver(Message, frozen=True, kw_only=True):
    """Nobody waits for the verdicts of this connection any more."""

    connection_id: ConnectionId


class Pressed(Message, frozen=True, kw_only=True):
    """Somebody pressed a button of an approval; answered at once."""

    press: Press
    reply: Reply[Toast]


class Expired(Message, frozen=True, kw_only=True):
    """From the request's own child: nobody decided in time, or it could not be shown."""

    key: str
    shown: bool


ApprovalsMessage = Ask | Closed | TurnOver | ConnectionOver | Pressed | Expired
