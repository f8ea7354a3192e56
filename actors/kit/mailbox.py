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


class Answer(Generic[AnswerT]):
    """The asker's end of a question: one answer, or the end of it, for one task that waits.

    A memory channel would do; it costs five times as much, and an event asks a dozen times.
    """

    __slots__ = ("_answers", "_asker", "_over", "abandoned")

    def __init__(self) -> None:
        self.abandoned = False
        """Whether the asker gave up."""
        self._over = False  # answered, or dropped
        self._answers: tuple[AnswerT, ...] = ()
        self._asker: trio.lowlevel.Task | None = None

    def __enter__(self) -> Answer[AnswerT]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up asking: no answer is taken any more."""
        self.abandoned = True

    @property
    def is_over(self) -> bool:
        """Whether the answer is there, or will not come: nothing is waited for any more."""
        return self._over

    def receive_nowait(self) -> AnswerT:
        """Return the answer that is there.

        Raises:
            trio.WouldBlock: there is none yet.
            ActorGone: the question was dropped.
        """
        if self._answers:
            return self._answers[0]
        if self._over:
            raise ActorGone
        raise trio.WouldBlock

    async def receive(self) -> AnswerT:
        """Wait for the answer. No checkpoint where it is there already.

        Raises:
            ActorGone: the question was dropped.
        """
        if not self._over:
            assert self._asker is None, "one task waits for an answer"
            self._asker = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
        return self.receive_nowait()

    async def receive_by(self, deadline: float) -> AnswerT:
        """Wait for the answer until *deadline* on the loop's clock, then give up asking.

        One that is there counts, however late it is looked for; neither a checkpoint nor a
        cancel scope is made for it.

        Raises:
            trio.TooSlowError: there is none by then.
            ActorGone: the question was dropped.
        """
        with self:
            if not self._over:
                with trio.move_on_at(deadline):
                    await self.receive()
            if not self._over:
                raise trio.TooSlowError
            return self.receive_nowait()

    def settle(self, *answers: AnswerT) -> bool:
        """Take the answer, or that there is none; for the :class:`Reply`, once.

        Returns whether somebody takes it.
        """
        if self._over:
            return False
        self._over, self._answers = True, answers
        if self._asker is not None:
            trio.lowlevel.reschedule(self._asker)
            self._asker = None
        return not self.abandoned

    def _stop_waiting(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._asker = None
        return trio.lowlevel.Abort.SUCCEEDED


class Reply(Generic[AnswerT]):
    """The one way back for a question.

    Its holder enters it as a context manager: a handler that crashes closes it on
    the way out, so the asker is notified instead of left to wait.
    """

    __slots__ = ("_to",)

    def __init__(self, to: Answer[AnswerT]) -> None:
        self._to = to

    def __enter__(self) -> Reply[AnswerT]:
        return self

    def __exit__(self, *exc: object) -> None:
        self._to.settle()

    def send(self, answer: AnswerT) -> bool:
        """Answer. Never blocks; an asker that gave up is no error.

        Returns whether the asker has it: where not, whatever the answer hands over is to
        be given to somebody else.
        """
        return self._to.settle(answer)

    @property
    def abandoned(self) -> bool:
        """Whether the asker gave up: nobody waits for the answer any more."""
        return self._to.abandoned

    def close(self) -> None:
        """Drop the question; its asker gets :class:`ActorGone`."""
        self._to.settle()


async def put(mailbox: trio.MemorySendChannel[MessageT], message: MessageT) -> None:
    """Send; wait for capacity only. Where there is some this is no checkpoint.

    ``send`` is one always, which costs a turn of the loop: for loops that wait elsewhere.
    """
    try:
        mailbox.send_nowait(message)
    except trio.WouldBlock:
        await mailbox.send(message)


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
    answer: Answer[AnswerT] = Answer()
    with answer:
        with trio.move_on_after(within_s):
            try:
                await put(mailbox, build(Reply(answer)))
            except trio.BrokenResourceError:
                raise ActorGone from None
            return await answer.receive()
        # Sent in the very step in which time was up: the one who answered counts it as taken.
        with contextlib.suppress(trio.WouldBlock, ActorGone):
            return answer.receive_nowait()
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
