"""The intake's answers to people."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec
import structlog
import trio

from actors.intake.peers import CALL_WITHIN_S
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway
from protocol.ids import ChatId, MessageId, SessionId, TurnId, idempotency_key
from protocol.platform.outcomes import NoAnswer, Outcome, Rejected, again_after_s
from protocol.strings import Language, Text

_ANSWER_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.5, max_s=8.0), within_s=60.0
)
ANSWERS_MAX: Final = 64
"""Answers to people under way at once; past it they are dropped, and logged."""

log = structlog.get_logger()


class CardAnswer(msgspec.Struct, frozen=True):
    """A command's answer that is a card; its JSON."""

    card: str


ChatAnswer = Text | CardAnswer


class ShownByCard(msgspec.Struct, frozen=True, kw_only=True):
    """What was stopped, where its card shows it and no message is sent."""

    session_id: SessionId
    turn_id: TurnId


class Answerable(Protocol):
    """What is answered: a message, its row, or its command."""

    @property
    def message_id(self) -> MessageId: ...
    @property
    def chat_id(self) -> ChatId: ...
    @property
    def topic(self) -> str | None:
        """Set where its topic is a place of its own."""


class Answers:
    """Plain text replies to people, each in a task of its own; nobody waits for one."""

    def __init__(
        self,
        nursery: trio.Nursery,
        gateway_tx: trio.MemorySendChannel[gateway.GatewayMessage],
        language: Language,
    ) -> None:
        self._nursery = nursery
        self._gateway_tx = gateway_tx
        self._language = language
        self._under_way = 0

    def send(self, to: Answerable, text: Text, what: str) -> None:
        """Reply to a message. *what* distinguishes this answer from others to the same message."""
        if self._under_way >= ANSWERS_MAX:
            log.warning("feishu.answer_dropped", message=to.message_id, what=what)
            return
        self._start(self.reply(to, text, what))

    async def deliver(self, to: Answerable, text: ChatAnswer, what: str) -> bool:
        """Reply to a message, and wait; return whether there is nothing more to be done.

        That is when it is out, or can't be: the message is gone, for example.
        """
        operation = self.reply(to, text, what)
        return not isinstance(await self._until_answered(operation), NoAnswer)

    def post(self, chat_id: ChatId, text: Text, uuid: str) -> None:
        """Send a text to a chat, not as a reply; *uuid* makes a repeat harmless."""
        if self._under_way >= ANSWERS_MAX:
            log.warning("feishu.answer_dropped", chat=chat_id)
            return
        self._start(
            gateway.CreateMessage(
                chat_id=chat_id, msg_type="text", content_json=self._json(text), uuid=uuid
            )
        )

    def reply(self, to: Answerable, text: ChatAnswer, what: str) -> gateway.ReplyMessage:
        """Return the call that replies to a message, in its topic."""
        return gateway.ReplyMessage(
            message_id=to.message_id,
            chat_id=to.chat_id,
            in_thread=to.topic is not None,
            msg_type="interactive" if isinstance(text, CardAnswer) else "text",
            content_json=text.card if isinstance(text, CardAnswer) else self._json(text),
            uuid=idempotency_key(to.message_id, what),
        )

    def start(self, operation: gateway.Operation) -> None:
        """Make a call whose outcome matters to nobody."""
        if self._under_way < ANSWERS_MAX:
            self._start(operation)

    def _json(self, text: Text) -> str:
        return msgspec.json.encode({"text": text.speak(self._language)}).decode()

    def _start(self, operation: gateway.Operation) -> None:
        self._under_way += 1
        self._nursery.start_soon(self._send, operation)

    async def _until_answered(self, operation: gateway.Operation) -> Outcome:
        """Make the call again while there is a chance; its uuid makes that harmless."""
        return await while_it_helps(
            lambda: gateway.call(
                self._gateway_tx, operation, gateway.Priority.FINAL, within_s=CALL_WITHIN_S
            ),
            _ANSWER_TRIES,
        )

    async def _send(self, operation: gateway.Operation) -> None:
        try:
            outcome = await self._until_answered(operation)
            if isinstance(outcome, Rejected | NoAnswer):
                log.warning(
                    "feishu.answer_failed",
                    what=type(operation).__name__,
                    outcome=type(outcome).__name__,
                )
        finally:
            self._under_way -= 1
