"""How actors communicate: bounded mailboxes, and questions with one answer and a deadline."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

MessageT = TypeVar("MessageT")
AnswerT = TypeVar("AnswerT")
FailureT = TypeVar("FailureT")


class ActorGone(Exception):
    """The actor ended, or dropped the question, without an answer.

    The question may still have taken effect, so what it asks for is idempotent.
    """


class Reply(Generic[AnswerT]):
    """The one way back for a question.

    Its holder enters it as a context manager: a handler that crashes closes it on
    the way out, so the asker is notified instead of left to wait.
    """

    __slots__ = ("_tx",)

    def __init__(self, tx: trio.MemorySendChannel[AnswerT]) -> None:
        self._tx = tx

    def __enter__(self) -> Reply[AnswerT]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, answer: AnswerT) -> bool:
        """Answer. Never blocks; an asker that gave up is no error.

        Returns whether the asker has it: where not, whatever the answer hands over is to
        be given to somebody else.
        """
        try:
            self._tx.send_nowait(answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        finally:
            self._tx.close()
        return True

    @property
    def abandoned(self) -> bool:
        """Whether the asker gave up: nobody waits for the answer any more."""
        return self._tx.statistics().open_receive_channels == 0

    def close(self) -> None:
        """Drop the question; its asker gets :class:`ActorGone`."""
        self._tx.close()


async def ask(
    mailbox: trio.MemorySendChannel[MessageT],
    build: Callable[[Reply[AnswerT]], MessageT],
    *,
    within_s: float,
) -> AnswerT:
    """Send ``build(reply)`` and return its answer.

    Raises:
        trio.TooSlowError: no capacity, or no answer, within *within_s* seconds.
        ActorGone: the actor is gone or dropped the question.
    """
    tx, rx = trio.open_memory_channel[AnswerT](1)
    with tx, rx:
        with trio.move_on_after(within_s):
            try:
                await mailbox.send(build(Reply(tx)))
            except trio.BrokenResourceError:
                raise ActorGone from None
            try:
                return await rx.receive()
            except trio.EndOfChannel:
                raise ActorGone from None
        # Sent in the very step in which time was up: the one who answered counts it as taken.
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            return rx.receive_nowait()
        raise trio.TooSlowError


async def ask_or(
    mailbox: trio.MemorySendChannel[MessageT],
    build: Callable[[Reply[AnswerT]], MessageT],
    *,
    within_s: float,
    otherwise: Callable[[str], FailureT],
) -> AnswerT | FailureT:
    """Like :func:`ask`, for an asker to whom no answer is an answer too.

    *otherwise* makes it from the reason.
    """
    try:
        return await ask(mailbox, build, within_s=within_s)
    except trio.TooSlowError:
        return otherwise(f"no answer in {within_s:g} s")
    except ActorGone:
        return otherwise("nobody answers")


def offer(mailbox: trio.MemorySendChannel[MessageT], message: MessageT) -> bool:
    """Send without waiting; return whether it was taken. For messages that go upwards."""
    try:
        mailbox.send_nowait(message)
    except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
        return False
    return True


def drain(inbox: trio.MemoryReceiveChannel[MessageT]) -> int:
    """Drop what an earlier run of an actor left unread; return how much that was.

    Who asked is notified that the question was dropped.
    """
    dropped = 0
    while True:
        try:
            message = inbox.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return dropped
        dropped += 1
        reply = getattr(message, "reply", None)
        if isinstance(reply, Reply):
            reply.close()


def taken(inbox: trio.MemoryReceiveChannel[MessageT]) -> MessageT | None:
    """Return the next message without waiting; None: there is none now, or no more."""
    try:
        return inbox.receive_nowait()
    except (trio.WouldBlock, trio.EndOfChannel):
        return None


def is_empty(inbox: trio.MemoryReceiveChannel[MessageT]) -> bool:
    """Whether nothing is in the mailbox, and nobody waits to put something there.

    An actor that ends by itself asks in the step in which it stops being found.
    """
    state = inbox.statistics()
    return not (state.current_buffer_used or state.tasks_waiting_send)
