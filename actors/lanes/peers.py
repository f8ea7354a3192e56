"""Whom every lane asks, and who shows its turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import trio

from actors.messages import lane, ownership, turn
from protocol.ids import AccountId, MessageId, TurnId

ShowTurn = Callable[
    [
        turn.TurnOpening,
        trio.MemoryReceiveChannel[turn.TurnInput],
        trio.MemorySendChannel[lane.LaneMessage],
    ],
    Awaitable[None],
]
"""Shows one turn until its final state was accepted; notifies the lane of its end."""
FinishCrashed = Callable[[turn.TurnOpening], Awaitable[None]]
"""Brings the cards of a turn whose actor crashed to error, by what the ledger knows."""
MarkMessage = Callable[[AccountId, MessageId, TurnId, trio.Event], Awaitable[None]]
"""Marks a message as being worked on in a turn, until the event or until cancelled."""


class Peers(msgspec.Struct, frozen=True, kw_only=True):
    """Whom every lane asks, and who shows its turns; the same for all."""

    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage]
    show_turn: ShowTurn
    finish_crashed: FinishCrashed
    mark: MarkMessage
