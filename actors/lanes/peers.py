"""Whom every lane asks, and who shows its turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import trio

from actors.messages import lane, ownership, turn
from protocol.routing.delivery import Offer

ShowTurn = Callable[
    [
        turn.TurnOpening,
        turn.InputReceiver,
        trio.MemorySendChannel[lane.LaneMessage],
    ],
    Awaitable[None],
]
"""Shows one turn until its final state was accepted; notifies the lane of its end."""
FinishCrashed = Callable[[turn.TurnOpening], Awaitable[None]]
"""Brings the cards of a turn whose actor crashed to error, by what the ledger knows."""
MarkMessage = Callable[[lane.Given], Awaitable[None]]
"""Marks what a channel session was given until it is over or until cancelled; its sender
learns once where it is not read."""


CompleteOffer = Callable[[Offer], Awaitable[Offer]]
"""Brings to this machine what a row carries and another node fetched; it has a deadline."""


class Peers(msgspec.Struct, frozen=True, kw_only=True):
    """Whom every lane asks, and who shows its turns; the same for all."""

    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage]
    show_turn: ShowTurn
    finish_crashed: FinishCrashed
    mark: MarkMessage
    complete: CompleteOffer
