"""A turn as plain replies: finished paragraphs as they come, the rest at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from actors.messages import gateway
from actors.turns.context import TurnDoors
from protocol import strings
from protocol.card import tool_line
from protocol.ids import idempotency_key
from protocol.platform import Gone, MessageSent, NoAnswer, RateLimited, Rejected
from protocol.reply import message_card
from protocol.turn import Turn, TurnState

MESSAGE_EVERY_S: Final = 1.0
RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 15.0
GIVE_UP_AFTER_S: Final = 300.0


class StaticPresenter:
    """Replies to the user's message. A message that was sent is not sent again."""

    def __init__(
        self,
        turn: Turn,
        doors: TurnDoors,
        stopped_by_user: Callable[[], bool],
        *,
        from_segment: int = 0,
    ) -> None:
        self._turn = turn
        self._doors = doors
        self._stopped_by_user = stopped_by_user
        self._changed = trio.Event()
        self._segment = from_segment
        self._offset = 0
        self._told_steps: set[str] = set()
        self._outbox: list[str] = []
        self._sent = 0
        self._ended = False

    def hurry(self) -> None:
        self._changed.set()

    async def show(self) -> None:
        """Send until the turn has ended and all of it was sent."""
        while True:
            self._changed = trio.Event()
            await self._doors.settle_pictures()
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
            self._outbox += self._last_words()

    def _finished_steps(self) -> list[str]:
        if not self._doors.style().tools:
            return []
        lines = []
        for call_id, step in self._turn.steps.items():
            if step.status != "running" and call_id not in self._told_steps:
                self._told_steps.add(call_id)
                lines.append(tool_line(step))
        return lines

    def _last_words(self) -> list[str]:
        language = self._doors.context.language
        turn = self._turn
        if turn.state is TurnState.ERROR:
            footer = strings.FOOTER_ERROR.format(time=strings.duration(turn.elapsed_s(0)))
            said = footer.speak(language)
            return [f"{said}\n{turn.error}" if turn.error else said]
        if turn.state is TurnState.ABORTED and not self._stopped_by_user():
            return [strings.STOPPED_TASK.speak(language)]
        return []

    async def _send(self, text: str) -> None:
        """Send one message; the same uuid makes a repetition harmless."""
        opening = self._doors.opening
        uuid = idempotency_key(opening.turn_id, "static", self._sent)
        content = message_card(text)
        reply: gateway.Operation = gateway.ReplyMessage(
            message_id=opening.message_id,
            chat_id=opening.chat_id,
            msg_type="interactive",
            content_json=content,
            uuid=uuid,
        )
        pause_s = RETRY_FIRST_S
        until = trio.current_time() + GIVE_UP_AFTER_S
        while trio.current_time() < until:
            outcome = await self._doors.call(reply, gateway.Priority.CREATE)
            match outcome:
                case MessageSent():
                    break
                case RateLimited(retry_after_s=seconds):
                    await trio.sleep(seconds)
                case NoAnswer():
                    await trio.sleep(pause_s)
                    pause_s = min(RETRY_MAX_S, pause_s * 2)
                case Gone() if isinstance(reply, gateway.ReplyMessage):
                    reply = gateway.CreateMessage(
                        chat_id=opening.chat_id,
                        msg_type="interactive",
                        content_json=content,
                        uuid=idempotency_key(opening.turn_id, "static-chat", self._sent),
                    )
                case Rejected():
                    break  # this text is not taken; the next ones may be
        self._sent += 1
