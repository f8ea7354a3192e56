"""What the connection of one account is given: its numbers and its mailboxes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from actors.feishu.dial import Dial, dial_tcp
from actors.feishu.socket import SocketLimits
from actors.messages import gateway, intake, journal, ownership
from protocol.ids import AccountId

IN_FLIGHT_EVENTS_MAX: Final = 256
"""Sent to the journal and not answered: two of its group commits at full speed."""
FORWARDED_EVENTS_MAX: Final = 256
"""Committed and acked, and intake's mailbox is full; they are safe in the journal."""
PRESSES_MAX: Final = 64
"""Presses on cards waiting for their toast."""
UNSURE_EVENTS_MAX: Final = 4_096
"""Appends with an unknown end; past it the oldest wait for the next start's replay."""
MORE_LINKS: Final = 3
"""After a claim by silence: of five links one is the old holder's, which gets a fifth."""
FRESH_EVERY_S: Final = 0.1
"""How often a claim that is not fresh is looked for: a link is closed soon after it."""
DRAIN_WITHIN_S: Final = 0.4
"""On leaving, for commits under way to be acked. With closing the socket below 1 s."""


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    account: AccountId
    socket: SocketLimits = SocketLimits()
    dial: Dial = dial_tcp
    discover_within_s: float = 15.0
    """The gateway's own deadline of a call is 10 s, its queue comes before."""
    append_within_s: float = 2.0
    press_within_s: float = 2.5
    """The platform waits 3 s for the answer to a press."""
    fresh: Callable[[], bool] | None = None
    """Whether this process still holds its claim; None: nobody else can take it."""
    opens_after: Callable[[], Awaitable[None]] | None = None
    """What the first link waits for; None: nothing."""
    more_links: int = 0
    """Beside the first one, for :attr:`more_links_for_s`; 3 after a claim by silence."""
    more_links_for_s: float = 600.0
    slow_retry_s: float = 30.0
    """After a refusal that only a human can lift."""
    report_every_s: float = 0.5
    """Status is for people; every event would be a message to ownership."""


class Peers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The mailboxes the connection sends to."""

    gateway: trio.MemorySendChannel[gateway.GatewayMessage]
    journal: trio.MemorySendChannel[journal.JournalMessage]
    intake: trio.MemorySendChannel[intake.IntakeMessage]
    ownership: trio.MemorySendChannel[ownership.OwnershipMessage]
