"""What the approvals actor and its cards are given by the application."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import trio

from actors.kit.cleanup import CleanupBudget
from actors.messages import approvals, gateway, intake, journal
from protocol.ids import AccountId


class Peers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the approvals actor sends to, and what else it is given."""

    gateways: Mapping[AccountId, trio.MemorySendChannel[gateway.GatewayMessage]]
    journal_tx: trio.MemorySendChannel[journal.JournalMessage]
    intakes: tuple[trio.MemorySendChannel[intake.IntakeMessage], ...]
    own_tx: trio.MemorySendChannel[approvals.ApprovalsMessage]
    cleanup: CleanupBudget
    random_bytes: Callable[[int], bytes]
    now_ms: Callable[[], int]
