"""Questions of one link to the daemon that an agent waits to have answered."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import trio

from actors.kit.mailbox import offer
from actors.proxies.errors import Disconnected, ToolCallFailed
from protocol.wire import messages as wire

QUESTION_ID_BYTES: Final = 12
TAKEN_KNOWN_MAX: Final = 64
"""Answers of which it is kept that they were taken, for presses that come again."""


class ElicitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, and where."""

    elicitation: dict[str, Any]
    """As it goes over the wire."""
    chat_id: str
    """Empty: in the chat of the session's last turn."""
    message_id: str
    turn_id: str
    is_withdrawn: Callable[[], bool]
    """ElicitRequest when nobody waits any more: whether the question is to be closed then."""


class OpenQuestions:
    """Asks, and gives each answer to who waits for it; *call* calls a tool of the daemon."""

    def __init__(
        self,
        call: Callable[[wire.Tool], Awaitable[wire.ToolResult]],
        send_soon: Callable[[wire.FromProxy], None],
    ) -> None:
        self._call = call
        self._send_soon = send_soon
        self._waiting: dict[str, trio.MemorySendChannel[wire.ElicitAnswer]] = {}
        self._taken: OrderedDict[str, None] = OrderedDict()
        self._numbers = 0

    async def ask(self, asked: ElicitRequest) -> wire.ElicitAnswer:
        """Ask, and wait for the answer.

        Raises:
            ToolCallFailed: the daemon refuses.
            Disconnected: the link dropped.
        """
        question_id = f"q_{secrets.token_hex(QUESTION_ID_BYTES)}"
        tx, rx = trio.open_memory_channel[wire.ElicitAnswer](1)
        self._waiting[question_id] = tx
        answer: wire.ElicitAnswer | None = None
        with tx, rx:
            try:
                args = {"question": question_id, "elicitation": asked.elicitation}
                args |= {
                    "chat_id": asked.chat_id,
                    "message_id": asked.message_id,
                    "turn_id": asked.turn_id,
                }
                result = await self._call(self._tool("elicit", args))
                if not result.ok:
                    raise ToolCallFailed(result.error or "it can't be asked")
                answer = await rx.receive()
            except (trio.EndOfChannel, trio.ClosedResourceError):
                raise Disconnected("larkd went away before anybody answered") from None
            finally:
                self._waiting.pop(question_id, None)
                if answer is None and asked.is_withdrawn():
                    self._send_soon(self._tool("withdraw", {"question": question_id}))
        return answer

    def take(self, answer: wire.ElicitAnswer) -> None:
        """Give an answer to who waits for it, once; report whether somebody does, or did."""
        tx = self._waiting.get(answer.question)
        ok = answer.question in self._taken or (tx is not None and offer(tx, answer))
        if ok:
            self._taken[answer.question] = None
            if len(self._taken) > TAKEN_KNOWN_MAX:
                self._taken.popitem(last=False)
        self._send_soon(wire.AnswerTaken(n=answer.n, ok=ok))

    def lose(self) -> None:
        """The link is over: nobody answers any more."""
        for tx in self._waiting.values():
            tx.close()
        self._waiting.clear()

    def _tool(self, name: str, args: dict[str, Any]) -> wire.Tool:
        self._numbers -= 1  # below zero: above it are the calls that the session makes itself
        return wire.Tool(id=self._numbers, name=name, args=args)
