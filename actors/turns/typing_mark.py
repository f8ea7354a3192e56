"""The Typing mark on the user's message, from the offer to the end. Best effort."""

from __future__ import annotations

from typing import Final

import trio

from actors.kit.mail import offer
from actors.messages import gateway, intake
from actors.turns.context import TurnDoors
from protocol.platform import ReactionAdded

EMOJI: Final = "Typing"
CLEAR_WITHIN_S: Final = 3.0


class TypingMark:
    def __init__(self, doors: TurnDoors) -> None:
        self._doors = doors
        self._reaction_id: str | None = None

    async def run(self) -> None:
        """Put the mark; a failure is nobody's concern. It takes the place of a waiting mark."""
        offer(self._doors.intake_tx, intake.Began(message_id=self._doors.opening.message_id))
        outcome = await self._doors.call(
            gateway.AddReaction(message_id=self._doors.opening.message_id, emoji_type=EMOJI),
            gateway.Priority.CREATE,
        )
        if isinstance(outcome, ReactionAdded):
            self._reaction_id = outcome.reaction_id

    async def clear(self) -> None:
        """Take the mark away, within a few seconds or not at all."""
        if self._reaction_id is None:
            return
        with trio.move_on_after(CLEAR_WITHIN_S):
            await self._doors.call(
                gateway.RemoveReaction(
                    message_id=self._doors.opening.message_id, reaction_id=self._reaction_id
                ),
                gateway.Priority.STRUCTURE,
            )
            self._reaction_id = None
