"""What the ownership actor, the single writer of lease state, accepts."""

from __future__ import annotations

from typing import Any

import msgspec
import trio

from actors.kit.mail import Reply
from actors.messages.base import Message
from actors.messages.link import LinkMessage
from protocol.delivery import Offer
from protocol.ids import AccountId, ChatId, ConnectionId, EventId, RowId, SessionId
from protocol.wire import RefusedCode, Role


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    alias: str
    lease_epoch: int


class Declined(msgspec.Struct, frozen=True, kw_only=True):
    code: RefusedCode
    message: str


class Register(Message, frozen=True, kw_only=True):
    """A connection proved who it is. A newer one of the same session replaces the older."""

    connection_id: ConnectionId
    session_id: SessionId
    role: Role
    pid: int
    proxy_version: str
    metadata: dict[str, str]
    capabilities: frozenset[str]
    link: trio.MemorySendChannel[LinkMessage]
    reply: Reply[Admitted | Declined]


class Disconnected(Message, frozen=True, kw_only=True):
    """That connection is over. Clears nothing of the lease."""

    connection_id: ConnectionId


class ToolDone(msgspec.Struct, frozen=True, kw_only=True):
    result: Any


class ToolFailed(msgspec.Struct, frozen=True, kw_only=True):
    error: str


class CallTool(Message, frozen=True, kw_only=True):
    """A ``feishu_channel_*`` tool, called over this connection."""

    connection_id: ConnectionId
    name: str
    args: dict[str, Any]
    reply: Reply[ToolDone | ToolFailed]


class RowReady(Message, frozen=True, kw_only=True):
    """A row of this chat became ready in the journal."""

    row_id: RowId
    account: AccountId
    chat_id: ChatId


class Next(Message, frozen=True, kw_only=True):
    """A lane with room asks for its session's next row; None: nothing for it now."""

    session_id: SessionId
    connection_id: ConnectionId
    reply: Reply[Offer | None]


class Acked(Message, frozen=True, kw_only=True):
    connection_id: ConnectionId
    event_id: EventId
    attempt: int


class Answered(Message, frozen=True, kw_only=True):
    """The turn of this row ended: the row is closed."""

    row_id: RowId


class ConnectionState(Message, frozen=True, kw_only=True):
    """How an account's long connection is; the latest replaces the one before."""

    account: AccountId
    state: str
    """``connecting``, ``connected``, ``reconnecting``, ``refused`` or ``closed``."""
    last_event_at_ms: int | None
    last_error: str | None


class Refusals(Message, frozen=True, kw_only=True):
    """How many messages an account's gate refused since the start, by reason."""

    account: AccountId
    by_reason: dict[str, int]


class Leaving(Message, frozen=True, kw_only=True):
    """The daemon leaves: registrations are refused as ``draining``, links say bye."""

    reply: Reply[None]


class ChatSession(msgspec.Struct, frozen=True, kw_only=True):
    """Who hears a chat: the session it is on, and whether that one is live."""

    session_id: SessionId | None
    alias: str | None
    live: bool


class WhoHears(Message, frozen=True, kw_only=True):
    chat_id: ChatId
    reply: Reply[ChatSession]


OwnershipMessage = (
    Register
    | Disconnected
    | CallTool
    | RowReady
    | Next
    | Acked
    | Answered
    | ConnectionState
    | Refusals
    | Leaving
    | WhoHears
)
