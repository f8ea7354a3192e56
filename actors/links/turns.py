"""The turns a link's proxy may send messages of, and the actors that show them."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Final, Literal

import trio

from actors.links.own_turns import OwnTurnPeers, open_own_turn
from actors.links.permissions import Permissions
from actors.messages import link, turn
from protocol.ids import ConnectionId, SessionId, TurnId
from protocol.routing.delivery import deliver
from protocol.wire import messages as wire
from protocol.wire import vocabulary
from protocol.wire.link import LinkMachine, join_deltas
from protocol.wire.pieces import in_pieces

QUESTIONS_MAX: Final = 128
"""Open to people at once of which it is kept that a turn waits for them."""


class LinkTurns:
    """Passes what the proxy sends of a turn to that turn's actor."""

    def __init__(
        self,
        connection_id: ConnectionId,
        machine: LinkMachine,
        permissions: Permissions,
        own_turns: OwnTurnPeers | None,
    ) -> None:
        self._id = connection_id
        self._machine = machine
        self._permissions = permissions
        self._own_turns = own_turns
        self._turns: dict[TurnId, turn.InputSender] = {}
        self._questions: dict[str, TurnId] = {}
        """What people are asked of a turn, by a key of its own: until it is answered."""

    def given(self, given: link.Give) -> wire.Deliver:
        """The session is given a row: what it answers belongs to this turn."""
        if given.turn is not None:
            self._turns[given.turn_id] = given.turn
            self._machine.open_turn(given.turn_id)
        self._permissions.given(given.offer, given.turn_id)
        return deliver(given.offer, given.turn_id)

    async def open_own(self, session_id: SessionId, wish: wire.TurnOpen) -> wire.FromDaemon | None:
        """Open a turn that nobody asked for; return the refusal if there is one."""
        earlier_ended = not any(map(vocabulary.OWN_TURN_ID_PATTERN.fullmatch, self._turns))
        opened = await open_own_turn(
            self._own_turns, session_id, self._id, wish, earlier_ended=earlier_ended
        )
        if isinstance(opened, str):
            return self._machine.refuse_turn(wish.turn_id, opened).message
        turn_id = TurnId(wish.turn_id)
        self._turns[turn_id] = opened.turn
        self._machine.open_turn(turn_id)
        self._permissions.opened(turn_id, opened.place)
        return None

    async def asks(self, key: str, turn_id: str | None) -> None:
        """People are asked something of this turn: that nothing new comes is no news until then."""
        if turn_id is None or turn_id not in self._turns:
            return
        if key not in self._questions and len(self._questions) < QUESTIONS_MAX:
            self._questions[key] = TurnId(turn_id)
            await self._waits(TurnId(turn_id), 1)

    async def answered(self, key: str) -> None:
        """It is answered, taken back, or was never asked."""
        turn_id = self._questions.pop(key, None)
        if turn_id is not None:
            await self._waits(turn_id, -1)

    async def _waits(self, turn_id: TurnId, change: Literal[1, -1]) -> None:
        turn_tx = self._turns.get(turn_id)
        if turn_tx is not None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it is over
                await turn_tx.send(turn.Waits(change=change))

    async def pass_on(self, messages: list[wire.TurnMessage]) -> None:
        """Give them to the turn's actor. Waiting here is the proxy's back-pressure."""
        for message in itertools.chain.from_iterable(map(in_pieces, join_deltas(messages))):
            turn_id = TurnId(message.turn_id)
            turn_tx = self._turns.get(turn_id)
            if turn_tx is None:
                continue
            try:
                await turn_tx.send(message)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._close(turn_id)
            if isinstance(message, wire.TurnEnd):
                self._close(turn_id)

    def _close(self, turn_id: TurnId) -> None:
        self._machine.close_turn(turn_id)
        self._permissions.turn_over(turn_id)
        turn_tx = self._turns.pop(turn_id, None)
        if turn_tx is not None:
            turn_tx.close()
        self._questions = {key: of for key, of in self._questions.items() if of != turn_id}

    def close_all(self) -> None:
        """The link is over."""
        for turn_tx in self._turns.values():
            turn_tx.close()


def drop(message: link.LinkMessage) -> None:
    """The link is over, so nothing will come of the turn that *message* was to open."""
    if isinstance(message, link.Give) and message.turn is not None:
        message.turn.close()
