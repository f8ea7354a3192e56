"""The intake's answers to people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import msgspec
import structlog
import trio

from actors.intake.peers import CALL_WITHIN_S
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway
from protocol.ids import ChatId, MessageId, SessionId, TurnId, idempotency_key
from protocol.platform.comments import place_of
from protocol.platform.outcomes import NoAnswer, Outcome, Rejected, again_after_s
from protocol.strings import Language, Text

_PAUSES: Final = Pauses(first_s=0.5, max_s=8.0)
_WITHIN_S: Final = 60.0
REFUSALS_MAX: Final = 4
"""Tries of a call that is refused for a reason no code names, as cards have them; such a reason
may pass. Then the answer goes to the chat, not as a reply."""
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
        self._start(self._ways(to, text, what))

    async def deliver(self, to: Answerable, text: ChatAnswer, what: str) -> bool:
        """Reply to a message, and wait; return whether there is nothing more to be done.

        That is when it is out, or can't be: the message is gone, for example.
        """
        return not isinstance(await self._until_answered(self._ways(to, text, what)), NoAnswer)

    def post(self, chat_id: ChatId, text: Text, uuid: str) -> None:
        """Send a text to a chat, not as a reply; *uuid* makes a repeat harmless."""
        if self._under_way >= ANSWERS_MAX:
            log.warning("feishu.answer_dropped", chat=chat_id)
            return
        message = gateway.CreateMessage(
            chat_id=chat_id, msg_type="text", content_json=self._json(text), uuid=uuid
        )
        self._start((message,))

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

    def _ways(self, to: Answerable, text: ChatAnswer, what: str) -> Iterator[gateway.Operation]:
        """Return the ways to answer, the best first: a reply, then a message to the chat."""
        reply = self.reply(to, text, what)
        yield reply
        if place_of(to.chat_id) is None:  # a document's comments have no chat beside them
            yield gateway.CreateMessage(
                chat_id=to.chat_id,
                msg_type=reply.msg_type,
                content_json=reply.content_json,
                uuid=idempotency_key(to.message_id, what, "chat"),
            )

    def start(self, operation: gateway.Operation) -> None:
        """Make a call whose outcome matters to nobody."""
        if self._under_way < ANSWERS_MAX:
            self._start((operation,))

    def _json(self, text: Text) -> str:
        return msgspec.json.encode({"text": text.speak(self._language)}).decode()

    def _start(self, ways: Iterable[gateway.Operation]) -> None:
        self._under_way += 1
        self._nursery.start_soon(self._send, ways)

    async def _until_answered(self, ways: Iterable[gateway.Operation]) -> Outcome | None:
        """Make the calls again while there is a chance; their uuids make that harmless."""
        outcome: Outcome | None = None
        for way in ways:
            outcome = await self._until_taken(way)
            if not _is_unnamed(outcome):
                break
        if isinstance(outcome, Rejected | NoAnswer):
            log.warning("feishu.answer_failed", outcome=repr(outcome)[:300])
        return outcome

    async def _until_taken(self, operation: gateway.Operation) -> Outcome:
        is_message = isinstance(operation, gateway.ReplyMessage | gateway.CreateMessage)
        tries_left = REFUSALS_MAX if is_message else 1

        def again_s(outcome: Outcome, pause_s: float) -> float | None:
            nonlocal tries_left
            tries_left -= _is_unnamed(outcome)
            if _is_unnamed(outcome) and tries_left > 0:
                return pause_s
            return again_after_s(outcome, pause_s)

        return await while_it_helps(
            lambda: gateway.call(
                self._gateway_tx, operation, gateway.Priority.FINAL, within_s=CALL_WITHIN_S
            ),
            Tries(again_after_s=again_s, pauses=_PAUSES, within_s=_WITHIN_S),
        )

    async def _send(self, ways: Iterable[gateway.Operation]) -> None:
        try:
            await self._until_answered(ways)
        finally:
            self._under_way -= 1


def _is_unnamed(outcome: Outcome) -> bool:
    """Whether the platform refused it by a code of which nothing is known."""
    return type(outcome) is Rejected and outcome.code != 0
