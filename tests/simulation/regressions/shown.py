"""Undone: what makes a card, its mark and the answer to a stop word come to their end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from actors.lanes.lane import Lane
from actors.messages import gateway, lane, turn
from actors.turns.actor import _TurnActor
from actors.turns.typing_mark import EMOJI, TypingMark
from protocol.cards.cardplan import CardPlan
from protocol.platform.outcomes import ReactionAdded
from tests.simulation.regressions.regression import replaced


@contextmanager
def typing_stays() -> Iterator[None]:
    """A mark is taken away where its id is known when the turn ends; no ledger has it."""

    async def put(self: TypingMark) -> None:
        outcome = await self._call(
            gateway.AddReaction(message_id=self._message_id, emoji_type=EMOJI),
            gateway.Priority.CREATE,
        )
        if isinstance(outcome, ReactionAdded):
            self._reaction_id, self._may_be_there = outcome.reaction_id, True

    async def clear(self: TypingMark) -> None:
        if self._reaction_id is not None:
            await original(self)

    original = TypingMark.clear
    with replaced(TypingMark, put=put, clear=clear):
        yield


@contextmanager
def nobody_answers() -> Iterator[None]:
    """The lane does not learn that no card is shown; static replies leave a stop to it."""

    def handle(self: Lane, message: lane.LaneMessage) -> None:
        if not isinstance(message, lane.CardLost):
            handled(self, message)

    def receive(self: _TurnActor, message: Any) -> None:
        if isinstance(message, turn.Stop) and message.reason == "user":
            message = turn.Stop(reason=message.reason, answered=True)
        received(self, message)

    handled, received = Lane._handle, _TurnActor._receive
    with replaced(Lane, _handle=handle), replaced(_TurnActor, _receive=receive):
        yield


@contextmanager
def sequence_reused() -> Iterator[None]:
    """A card call that was cut off has not used its sequence, nor its uuid."""

    def begin(_self: CardPlan, _step: Any, _now: float) -> None:
        return

    with replaced(CardPlan, begin=begin):
        yield
