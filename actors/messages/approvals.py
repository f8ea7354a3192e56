"""What the approvals actor accepts."""

from __future__ import annotations

import msgspec
import trio

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from actors.messages.intake import Toast
from actors.messages.link import LinkMessage
from protocol.cards.approval import ApprovalPress, Origin, Shown
from protocol.ids import AccountId, ChatId, ConnectionId, SessionId, TurnId
from protocol.routing.access import Policy
from protocol.wire.messages import PermissionRequest


class Ask(Message, frozen=True, kw_only=True):
    """An agent asks for permission; the verdict goes to *link*."""

    connection_id: ConnectionId
    session_id: SessionId
    alias: str
    turn_id: TurnId | None
    account: AccountId | None
    """Whose admins are asked where there is no place; None: nobody wrote to the session yet."""
    place: Origin | None
    """Where the turn came from; None: there is none, so the admins are asked."""
    request: PermissionRequest
    """Without its detail, which is read already."""
    shown: Shown
    file: bytes | None
    """The whole of it, where the card can't hold it."""
    link: trio.MemorySendChannel[LinkMessage]


class Closed(Message, frozen=True, kw_only=True):
    """It was decided elsewhere, as the proxy reports."""

    connection_id: ConnectionId
    request_id: str
    reason: str


class TurnOver(Message, frozen=True, kw_only=True):
    """The turn ended or was cancelled: what it still asks needs no answer.

    Sessions choose the ids of their own turns, so that two may have the same.
    """

    connection_id: ConnectionId
    turn_id: TurnId


class ConnectionOver(Message, frozen=True, kw_only=True):
    """Nobody waits for the verdicts of this connection any more."""

    connection_id: ConnectionId


class AllConnectionsOver(Message, frozen=True, kw_only=True):
    """No connection of before is left: whoever asked then is gone."""


class AccessIs(Message, frozen=True, kw_only=True):
    """The gate of an account is this now: who was let out has no open request any more."""

    account: AccountId
    policy: Policy


class Pressed(Message, frozen=True, kw_only=True):
    """Somebody pressed a button of an approval; answered at once."""

    press: ApprovalPress
    policy: Policy
    """The gate, as it is at this moment."""
    reply: Reply[Toast]


class Expired(Message, frozen=True, kw_only=True):
    """From the request's own child: nobody decided in time, or it could not be shown."""

    key: str
    shown: bool


class AskedNow(msgspec.Struct, frozen=True, kw_only=True):
    """A request that waits for a press; one, however many admins are shown it."""

    account: AccountId
    chat_id: ChatId
    """Where it is shown; an admin's open_id where the platform finds their direct chat."""
    session_id: SessionId
    alias: str
    title: str
    detail: str | None
    """The beginning of it, every character that can't be seen as its code."""
    of_admins: bool
    expires_at_ms: int


class Look(Message, frozen=True, kw_only=True):
    """Ask for what waits, oldest first."""

    reply: Reply[tuple[AskedNow, ...]]


ApprovalsMessage = (
    Ask
    | Closed
    | TurnOver
    | ConnectionOver
    | AllConnectionsOver
    | AccessIs
    | Pressed
    | Expired
    | Look
)
