"""Whom monitoring asks, and where it serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import trio

from actors.kit.tls_serving import Files
from actors.messages import approvals, gateway, journal, lane, ownership
from protocol.ids import AccountId, ConnectionId


class Peers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    journal_tx: trio.MemorySendChannel[journal.JournalMessage]
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage]
    lanes_tx: trio.MemorySendChannel[lane.LaneMessage]
    approvals_tx: trio.MemorySendChannel[approvals.ApprovalsMessage]
    gateways: Mapping[AccountId, trio.MemorySendChannel[gateway.GatewayMessage]]
    next_connection_id: Callable[[], ConnectionId]
    """Ids are shared with the links: no two connections have the same one."""
    now_ms: Callable[[], int]


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One address to serve."""

    host: str
    port: int
    sockets: tuple[int, ...]
    """Descriptors that listen; they stay open."""
    tls: Files | None = None
    """None for plain HTTP."""
