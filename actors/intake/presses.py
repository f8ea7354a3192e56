"""Presses on cards: each is answered at once, and its row closed or made an answer."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from actors.intake.choosing import Choosing
from actors.intake.peers import Peers
from actors.intake.questions import Questions
from actors.intake.rows import close_row
from actors.intake.stop import Stopper
from actors.kit.mailbox import Reply
from actors.messages import intake
from protocol.cards import choice_card
from protocol.cards import question as asking
from protocol.errors import RemoteProtocolError
from protocol.platform.events import decode_card_action
from protocol.routing import access
from protocol.routing.delivery import RowState, StoredEvent

log = structlog.get_logger()


class Presses:
    """Answers presses, each in a task of its own."""

    def __init__(
        self,
        peers: Peers,
        stopper: Stopper,
        policy: Callable[[], access.Policy],
        nursery: trio.Nursery,
        now_ms: Callable[[], int],
    ) -> None:
        self._to = peers
        self._stopper = stopper
        self._choosing = Choosing(peers, stopper)
        self._questions = Questions(peers, stopper, policy, nursery)
        self._now_ms = now_ms

    async def press(self, message: intake.PressArrived) -> None:
        """Answer one press. Its row is closed, unless it went to a session as an answer."""
        event = message.event
        with message.reply:
            is_answer = await self._act(event, message.reply)
        if not is_answer:
            await close_row(
                self._to.journal_tx,
                event.row_id,
                RowState.COMMAND,
                "card action",
                self._now_ms(),
            )

    async def _act(self, event: StoredEvent, reply: Reply[intake.Toast | None]) -> bool:
        """Do what the press asks for; return whether its row is an answer now, or may be."""
        try:
            action = decode_card_action(event.payload)
        except RemoteProtocolError as unreadable:
            log.warning("feishu.event.unreadable", event_id=event.event_id, reason=str(unreadable))
            reply.send(None)
            return False
        chosen = choice_card.read_press(action)
        if chosen is not None:
            await self._choosing.press(chosen, action.message_id, reply)
            return False
        question_id = asking.question_of(action.value)
        if question_id is None:
            reply.send(await self._stopper.press(action))
            return False
        return await self._questions.press(event, action, question_id, reply)
