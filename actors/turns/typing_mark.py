"""The Typing mark on the user's message, from the offer to the end. Best effort."""

from __future__ import annotations

from typing import Final

import trio

from actors.kit.cleanup import CleanupBudget
from actors.kit.mailbox import ask_or, offer
from actors.messages import gateway, intake
from protocol.ids import MessageId
from protocol.platform.outcomes import NoAnswer, Outcome, ReactionAdded

EMOJI: Final = "Typing"
CALL_WITHIN_S: Final = 30.0
CLEAR_WITHIN_S: Final = 3.0


class TypingMark:
    """The mark on one message."""

    def __init__(
        self,
        message_id: MessageId,
        gateway_tx: trio.MemorySendChannel[gateway.GatewayMessage],
        intake_tx: trio.MemorySendChannel[intake.IntakeMessage],
    ) -> None:
        self._message_id = message_id
        self._gateway_tx = gateway_tx
        self._intake_tx = intake_tx
        self._reaction_id: str | None = None

    async def run(self) -> None:
        """Put the mark; a failure is ignored. It takes the place of a waiting mark."""
        offer(self._intake_tx, intake.TurnBegan(message_id=self._message_id))
        outcome = await self._call(
            gateway.AddReaction(message_id=self._message_id, emoji_type=EMOJI),
            gateway.Priority.CREATE,
        )
        if isinstance(outcome, ReactionAdded):
            self._reaction_id = outcome.reaction_id

    async def clear(self) -> None:
        """Take the mark away, within a few seconds or not at all."""
        if self._reaction_id is None:
            return
        with trio.move_on_after(CLEAR_WITHIN_S):
            await self._call(
                gateway.RemoveReaction(message_id=self._message_id, reaction_id=self._reaction_id),
                gateway.Priority.STRUCTURE,
            )
            self._reaction_id = None

    async def _call(self, operation: gateway.Operation, priority: gateway.Priority) -> Outcome:
        return await ask_or(
            self._gateway_tx,
            lambda reply: gateway.Call(operation=operation, priority=priority, reply=reply),
            within_s=CALL_WITHIN_S,
            otherwise=lambda reason: NoAnswer(reason=reason),
        )


async def mark_until(answered: trio.Event, mark: TypingMark, cleanup: CleanupBudget) -> None:
    """Mark a message until it was answered, or until cancelled: then the mark goes too."""
    try:
        await mark.run()
        await answered.wait()
    finally:
        with cleanup.shielded():
            await mark.clear()  # noqa: ASYNC102  # shielded above, with a deadline
