"""Answers to what an agent waits for: given to it once, whoever sends them, and however often."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.proxies.errors import Disconnected, ToolCallFailed
from actors.proxies.questions import ElicitRequest, OpenQuestions
from protocol.wire import messages as wire


class Daemon:
    """What the daemon is sent, and whether it asks."""

    def __init__(self, error: str | None = None) -> None:
        self.sent: list[wire.FromProxy] = []
        self.called = trio.Event()
        self._error = error
        self.questions = OpenQuestions(self._call, self.sent.append)

    async def _call(self, tool: wire.Tool) -> wire.ToolResult:
        await trio.lowlevel.checkpoint()
        self.question: str = tool.args["question"]
        self.called.set()
        return wire.ToolResult(id=tool.id, ok=self._error is None, error=self._error)

    def answers(self) -> list[bool]:
        return [one.ok for one in self.sent if isinstance(one, wire.AnswerTaken)]

    def withdrawn(self) -> list[str]:
        return [one.args["question"] for one in self.sent if isinstance(one, wire.Tool)]

    def answer(self, n: int) -> None:
        self.questions.take(wire.ElicitAnswer(n=n, question=self.question, action="accept"))


def request(*, withdrawn: bool = True) -> ElicitRequest:
    return ElicitRequest(
        elicitation={"message": "Go on?"},
        chat_id="oc_1",
        message_id="om_1",
        turn_id="t_1",
        is_withdrawn=lambda: withdrawn,
    )


async def test_an_answer_that_comes_again_was_taken_and_is_given_once() -> None:
    daemon = Daemon()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon.questions.ask, request())
            await daemon.called.wait()
            daemon.answer(1)
        daemon.answer(2)
    daemon.questions.take(wire.ElicitAnswer(n=3, question="q_other", action="accept"))
    assert daemon.answers() == [True, True, False]
    assert daemon.withdrawn() == []


@pytest.mark.parametrize("withdrawn", [True, False])
async def test_nobody_waits_any_more(withdrawn: bool) -> None:
    """A daemon that leaves keeps the question: its answer comes as a message after the restart."""
    daemon = Daemon()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon.questions.ask, request(withdrawn=withdrawn))
            await daemon.called.wait()
            nursery.cancel_scope.cancel()
    daemon.answer(1)
    assert daemon.answers() == [False]
    assert daemon.withdrawn() == ([daemon.question] if withdrawn else [])


async def test_what_the_daemon_refuses_or_loses_is_reported() -> None:
    refusing = Daemon("too long")
    with pytest.raises(ToolCallFailed, match="too long"):
        await refusing.questions.ask(request())
    daemon = Daemon()

    async def lose() -> None:
        await daemon.called.wait()
        await trio.testing.wait_all_tasks_blocked()
        daemon.questions.lose()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            with pytest.raises(Disconnected, match="before anybody answered"):
                await daemon.questions.ask(request())
