"""The mark on a prompt that has to wait, so that its sender knows it landed.

It goes when the turn begins, which shows its own mark, or when the prompt is taken out
of the queue. Best effort, like every reaction.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import trio

from actors.intake.answers import Answers
from actors.intake.peers import Peers
from actors.messages import gateway, intake
from protocol.ids import MessageId
from protocol.platform.outcomes import NoAnswer, ReactionAdded, ReactionsFound

EMOJI: Final = "OneSecond"
MARKS_MAX: Final = 4_096
LOOK_AGAIN_S: Final = (5.0, 10.0, 20.0, 40.0)
"""When a call was not answered: the mark may come for so long, pause after pause."""


class WaitingMarks:
    """Which prompts carry the mark. None as its id: the platform has not answered yet."""

    def __init__(self, peers: Peers, answers: Answers, nursery: trio.Nursery) -> None:
        self._to = peers
        self._answers = answers
        self._nursery = nursery
        self._marked: OrderedDict[MessageId, tuple[str, ...] | None] = OrderedDict()

    def put(self, message_id: MessageId) -> None:
        if message_id in self._marked:
            return
        self._marked[message_id] = None
        if len(self._marked) > MARKS_MAX:
            self._marked.popitem(last=False)
        self._nursery.start_soon(self._put, message_id)

    async def _put(self, message_id: MessageId) -> None:
        outcome = await self._to.call(
            gateway.AddReaction(message_id=message_id, emoji_type=EMOJI),
            gateway.Priority.CREATE,
        )
        reaction_ids: tuple[str, ...] = ()
        if isinstance(outcome, ReactionAdded):
            reaction_ids = (outcome.reaction_id,)
        elif isinstance(outcome, NoAnswer):
            reaction_ids = await self._look(message_id)
        await self._to.intake_tx.send(
            intake.MarkPlaced(message_id=message_id, reaction_ids=reaction_ids)
        )

    async def _look(self, message_id: MessageId) -> tuple[str, ...]:
        """Look for a mark whose call was not answered; what another bot put is found too."""
        for pause_s in LOOK_AGAIN_S:
            await trio.sleep(pause_s)
            found = await self._to.call(
                gateway.ListReactions(message_id=message_id, emoji_type=EMOJI),
                gateway.Priority.CREATE,
            )
            if isinstance(found, ReactionsFound) and found.reaction_ids:
                return found.reaction_ids
        return ()

    def was_put(self, marked: intake.MarkPlaced) -> None:
        """The platform has answered; the prompt may have begun meanwhile."""
        if not marked.reaction_ids:
            self._marked.pop(marked.message_id, None)
        elif marked.message_id in self._marked:
            self._marked[marked.message_id] = marked.reaction_ids
        else:
            self._remove(marked.message_id, marked.reaction_ids)

    def clear(self, message_id: MessageId) -> None:
        reaction_ids = self._marked.pop(message_id, None)
        if reaction_ids is not None:
            self._remove(message_id, reaction_ids)

    def _remove(self, message_id: MessageId, reaction_ids: tuple[str, ...]) -> None:
        for one in reaction_ids:
            self._answers.start(gateway.RemoveReaction(message_id=message_id, reaction_id=one))
