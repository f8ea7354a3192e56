"""Answers of people to what the agent of a link may wait for, on their way to its proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actors.kit.mailbox import Reply
from actors.messages import link
from protocol.wire import messages as wire

ANSWERS_AT_ONCE_MAX: Final = 64
"""As many as one session may have questions open."""


class PassedAnswers:
    """The answers of one link that wait for their ``answer_taken``."""

    def __init__(self, send: Callable[[wire.FromDaemon], None]) -> None:
        self._send = send
        self._given: dict[int, Reply[wire.AnswerTaken]] = {}
        self._numbers = 0

    def give(self, answer: link.GiveAnswer) -> None:
        """Send it; who passed it is answered by :meth:`taken`, or has a deadline of its own."""
        self._given = {n: one for n, one in self._given.items() if not one.abandoned}
        if answer.reply.abandoned or len(self._given) >= ANSWERS_AT_ONCE_MAX:
            answer.reply.close()
            return
        self._numbers += 1
        self._given[self._numbers] = answer.reply
        self._send(
            wire.ElicitAnswer(
                n=self._numbers,
                question=answer.question_id,
                action=answer.action,
                answers=list(answer.answers),
            )
        )

    def taken(self, taken: wire.AnswerTaken) -> None:
        reply = self._given.pop(taken.n, None)
        if reply is not None:
            reply.send(taken)

    def close(self) -> None:
        """The link is over: who waits is notified."""
        for reply in self._given.values():
            reply.close()
