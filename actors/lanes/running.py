"""The turn in flight, and who may stop it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import trio

from actors.kit.mailbox import Reply
from actors.messages import lane, turn
from protocol.ids import TurnId
from protocol.routing.delivery import Offer

SEEN_TURNS_MAX: Final = 256
"""Who stopped a turn asks within a minute whether it is seen; a session has few turns in that."""


class RunningTurn:
    """One turn that a proxy runs and an actor shows."""

    def __init__(
        self,
        opening: turn.TurnOpening,
        row: Offer | None,
        inputs: turn.InputSender,
    ) -> None:
        """*row* is None for a turn that nobody asked for."""
        self.opening = opening
        self.mode = opening.mode
        self.row_id = None if row is None else row.row_id
        self.message_ids = () if row is None else row.prompt.message_ids
        self.inputs = inputs
        self.cancelled = False
        self.revoked = False

    def send(self, message: turn.TurnInput, nursery: trio.Nursery) -> None:
        """Send the turn's actor a message, in a task of *nursery*: it may be slow to take it."""
        nursery.start_soon(_send, self.inputs.clone(), message)


async def _send(inputs: turn.InputSender, message: turn.TurnInput) -> None:
    with inputs:
        try:
            await inputs.send(message)
        except trio.BrokenResourceError:
            return  # it is final already


class ShownTurns:
    """The turns whose actors are at work, and who waits until people see what became of one."""

    def __init__(self) -> None:
        self._waiting: dict[TurnId, list[Reply[bool]]] = {}
        self._seen: dict[TurnId, None] = {}
        """Turns whose card was sent or whose actor has done all it had to, the latest last."""

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, turn_id: TurnId) -> None:
        self._waiting[turn_id] = []

    def wait(self, question: lane.StopShown) -> None:
        """Answer now, or when the turn's card was sent or its actor has ended."""
        seen = question.turn_id in self._seen
        waiting = self._waiting.get(question.turn_id)
        if waiting is None or seen:
            question.reply.send(seen)
            return
        # One request stops one turn: who else is there has asked again.
        waiting[:] = [one for one in waiting if not one.abandoned] + [question.reply]

    def card_sent(self, turn_id: TurnId) -> None:
        if turn_id in self._waiting:
            self._see(turn_id)
            self._answer(self._waiting[turn_id], seen=True)

    def end(self, turn_id: TurnId, *, crashed: bool) -> None:
        if not crashed:
            self._see(turn_id)
        self._answer(self._waiting.pop(turn_id), seen=turn_id in self._seen)

    def _see(self, turn_id: TurnId) -> None:
        self._seen[turn_id] = None
        if len(self._seen) > SEEN_TURNS_MAX:
            del self._seen[next(iter(self._seen))]

    @staticmethod
    def _answer(waiting: list[Reply[bool]], *, seen: bool) -> None:
        for reply in waiting:
            reply.send(seen)
        waiting.clear()


def turn_to_stop(stop: lane.StopTurn, running: Iterable[RunningTurn | None]) -> RunningTurn | None:
    """Return the first turn that *stop* means: one request stops one turn."""
    for one in running:
        if (
            one is not None
            and not one.cancelled
            and stop.turn_id in (None, one.opening.turn_id)
            and stop.place in (None, one.opening.place)
        ):
            return one
    return None


def may_stop(stop: lane.StopTurn, opening: turn.TurnOpening) -> bool:
    in_its_direct_chat = opening.chat_type == "p2p" and stop.chat_id == opening.chat_id
    may = stop.by == opening.sender_id or in_its_direct_chat
    return stop.by_admin or (may and opening.chat_type in stop.admitted_in)
