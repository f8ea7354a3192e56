"""What the agent elicits: asked on a card in the chat of its turn, and answered by its protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from actors.proxies.errors import Disconnected, ToolCallFailed
from protocol.agents import elicitation
from protocol.cards.question import Answered, Elicitation
from protocol.wire import messages as wire

AskPerson = Callable[[Elicitation], Awaitable[wire.ElicitAnswer]]
"""Ask in the chat and wait. May raise ToolCallFailed and Disconnected."""


class _Open:
    """An address that people were asked to open."""

    def __init__(self, scope: trio.CancelScope) -> None:
        self.scope = scope
        self.completed = False


class Elicitations:
    """The requests of one run of an agent that nobody has answered yet."""

    def __init__(
        self, asks: Callable[[], Awaitable[AskPerson | None]], waiting: set[trio.CancelScope]
    ) -> None:
        self._asks = asks
        self._waiting = waiting
        """Scopes that end with the turn."""
        self._open: dict[str, _Open] = {}

    async def create(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``elicitation/create``; ``cancel`` where the turn ends first, or nobody is there.

        Raises:
            ValueError: no card can ask it.
        """
        form = elicitation.read_request(params)
        ask = await self._asks()
        if ask is None:
            return elicitation.answer(form, "cancel")
        given: wire.ElicitAnswer | None = None
        scope = trio.CancelScope()
        opened = _Open(scope)
        self._waiting.add(scope)
        if form.elicitation_id is not None:
            self._open[form.elicitation_id] = opened
        try:
            with scope:
                given = await ask(form.elicited)
        except ToolCallFailed as refused:
            raise ValueError(str(refused)) from refused
        except Disconnected:
            return elicitation.answer(form, "cancel")
        finally:
            self._waiting.discard(scope)
            if form.elicitation_id is not None:
                self._open.pop(form.elicitation_id, None)
        if given is None:
            return elicitation.answer(form, "accept" if opened.completed else "cancel")
        answers = [Answered(labels=one.labels, text=one.text) for one in given.answers]
        return elicitation.answer(form, given.action, answers)

    def complete(self, params: Mapping[str, Any]) -> None:
        """Take ``elicitation/complete``: what the address was for has been done there."""
        opened = self._open.get(str(params.get("elicitationId")))
        if opened is not None:
            opened.completed = True
            opened.scope.cancel(reason="it was done at its address")
