"""A turn as plain replies: finished paragraphs as they come, the rest at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import structlog
import trio

from actors.messages import gateway
from actors.turns.client import TurnClient
from protocol import strings
from protocol.cards.card import tool_line
from protocol.cards.reply import message_card
from protocol.cards.turn import Turn, TurnState
from protocol.ids import idempotency_key
from protocol.platform.outcomes import MessageSent, again_after_s

MESSAGE_EVERY_S: Final = 1.0
RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 15.0
GIVE_UP_AFTER_S: Final = 300.0

log = structlog.get_logger()


class StaticPresenter:
    """Replies to the user's message. A message that was sent is not sent again."""

    def __init__(
        self,
        turn: Turn,
        client: TurnClient,
        stopped_by_user: Callable[[], bool],
        *,
        from_segment: int = 0,
    ) -> None:
        self._turn = turn
        self._client = client
        self._stopped_by_user = stopped_by_user
        self._changed = trio.Event()
        self._segment = from_segment
        self._offset = 0
        self._sent_steps: set[str] = set()
        self._outbox: list[str] = []
        self._sent = 0
        self._ended = False

    def notify(self) -> None:
        self._changed.set()

    async def show(self) -> None:
        """Send until the turn has ended and all of it was sent."""
        while True:
            self._changed = trio.Event()
            await self._client.settle_pictures()
            self._collect()
            if not self._outbox:
                if self._ended:
                    return
                await self._changed.wait()
                continue
            while self._outbox:
                await self._send(self._outbox[0])
                self._outbox.pop(0)
            if not self._turn.state.final:
                await trio.sleep(MESSAGE_EVERY_S)

    def _collect(self) -> None:
        """Put what can no longer change, and was not sent, into the outbox."""
        answer, final = self._turn.answer, self._turn.state.final
        lines = self._finished_steps()
        parts: list[str] = []
        while self._segment < len(answer.sealed):
            parts.append(answer.sealed[self._segment][self._offset :])
            self._segment, self._offset = self._segment + 1, 0
        text = answer.current if final else answer.complete
        parts.append(text[self._offset :])
        self._offset = max(self._offset, len(text))
        first = "\n".join([*lines, parts[0]]) if lines else parts[0]
        self._outbox += [part for part in (first, *parts[1:]) if part.strip()]
        if final and not self._ended:
            self._ended = True
            self._outbox += self._closing_messages()

    def _finished_steps(self) -> list[str]:
        if not self._client.style().tools:
            return []
        lines = []
        for call_id, step in self._turn.steps.items():
            if step.status != "running" and call_id not in self._sent_steps:
                self._sent_steps.add(call_id)
                lines.append(tool_line(step))
        return lines

    def _closing_messages(self) -> list[str]:
        language = self._client.peers.language
        turn = self._turn
        if turn.state is TurnState.ERROR:
            footer = strings.FOOTER_ERROR.format(time=strings.duration(turn.elapsed_s(0)))
            shown = footer.speak(language)
            return [f"{shown}\n{turn.error}" if turn.error else shown]
        if turn.state is TurnState.ABORTED and not self._stopped_by_user():
            return [strings.STOPPED_TASK.speak(language)]
        return []

    async def _send(self, text: str) -> None:
        """Send one message; the same uuid makes a repetition harmless.

        One that is not taken as a reply goes to the chat, and one that is not taken as
        Markdown goes as plain text: the words matter more than how they look.
        """
        ways = self._ways(text)
        way = next(ways)
        pause_s = RETRY_FIRST_S
        until = trio.current_time() + GIVE_UP_AFTER_S
        while trio.current_time() < until:
            outcome = await self._client.call(way, gateway.Priority.CREATE)
            if isinstance(outcome, MessageSent):
                break
            again_s = again_after_s(outcome, pause_s)
            if again_s is not None:
                await trio.sleep(again_s)
                pause_s = min(RETRY_MAX_S, pause_s * 2)
                continue
            another = next(ways, None)
            if another is None:
                log.error("feishu.text_not_taken", turn=self._client.opening.turn_id)
                break
            way = another
        self._sent += 1

    def _ways(self, text: str) -> Iterator[gateway.ReplyMessage | gateway.CreateMessage]:
        """Return the ways to send a text, the best first, each under a uuid of its own."""
        opening = self._client.opening
        forms: tuple[tuple[gateway.MessageType, str], ...] = (
            ("interactive", message_card(text)),
            ("text", msgspec.json.encode({"text": text}).decode()),
        )
        for msg_type, content in forms:
            plain = "" if msg_type == "interactive" else "-text"
            yield gateway.ReplyMessage(
                message_id=opening.message_id,
                chat_id=opening.chat_id,
                msg_type=msg_type,
                content_json=content,
                uuid=idempotency_key(opening.turn_id, f"static{plain}", self._sent),
            )
            yield gateway.CreateMessage(
                chat_id=opening.chat_id,
                msg_type=msg_type,
                content_json=content,
                uuid=idempotency_key(opening.turn_id, f"static-chat{plain}", self._sent),
            )
