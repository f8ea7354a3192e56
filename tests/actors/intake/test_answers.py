"""An answer to a person that the platform does not take at first, or not as a reply."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio
from trio.testing import MockClock

from actors.intake.answers import REFUSALS_MAX, Answers
from actors.messages import gateway
from protocol.ids import ChatId, MessageId
from protocol.platform.outcomes import Gone, MessageSent, MissingScope, Outcome, Rejected
from protocol.strings import in_chat

REFUSED = Rejected(code=987654, message="for a reason of its own")
SENT = MessageSent(message_id=MessageId("om_answer"))


class Asked(msgspec.Struct, frozen=True):
    message_id: MessageId = MessageId("om_1")
    chat_id: ChatId = ChatId("oc_1")
    topic: str | None = None


@asynccontextmanager
async def answering(
    *outcomes: Outcome,
) -> AsyncIterator[tuple[Answers, list[gateway.Operation]]]:
    """Answer the calls with these outcomes, one after the other; the last one stays."""
    tx, rx = trio.open_memory_channel[gateway.GatewayMessage](64)
    calls: list[gateway.Operation] = []

    async def serve() -> None:
        async for message in rx:
            assert isinstance(message, gateway.Call)
            message.reply.send(outcomes[min(len(calls), len(outcomes) - 1)])
            calls.append(message.operation)

    with tx, rx:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield Answers(nursery, tx, "en"), calls
            nursery.cancel_scope.cancel()


async def test_an_answer_refused_by_a_code_nobody_knows_is_sent_again(
    autojump_clock: MockClock,
) -> None:
    async with answering(REFUSED, REFUSED, SENT) as (answers, calls):
        assert await answers.deliver(Asked(), in_chat.STOPPED_TASK, "stop")
        assert [type(call) for call in calls] == [gateway.ReplyMessage] * 3
        assert len({call.uuid for call in calls if isinstance(call, gateway.ReplyMessage)}) == 1


async def test_an_answer_that_is_taken_as_no_reply_goes_to_the_chat(
    autojump_clock: MockClock,
) -> None:
    async with answering(*[REFUSED] * REFUSALS_MAX, SENT) as (answers, calls):
        assert await answers.deliver(Asked(), in_chat.STOPPED_TASK, "stop")
        *replies, message = calls
        assert [type(call) for call in replies] == [gateway.ReplyMessage] * REFUSALS_MAX
        assert isinstance(message, gateway.CreateMessage)
        assert (message.chat_id, message.msg_type) == ("oc_1", "text")
        assert "Stopped current task." in message.content_json


async def test_an_answer_that_nothing_takes_is_given_up(autojump_clock: MockClock) -> None:
    async with answering(REFUSED) as (answers, calls):
        assert await answers.deliver(Asked(), in_chat.STOPPED_TASK, "stop")
        assert len(calls) == 2 * REFUSALS_MAX


async def test_what_a_code_explains_is_not_tried_again(autojump_clock: MockClock) -> None:
    for outcome in (
        Gone(code=230011, message="recalled"),
        MissingScope(code=99991672, message="no", scopes=("im:message",), grant_url=None),
    ):
        async with answering(outcome) as (answers, calls):
            assert await answers.deliver(Asked(), in_chat.STOPPED_TASK, "stop")
            assert len(calls) == 1


async def test_a_reaction_that_is_refused_is_not_tried_again(autojump_clock: MockClock) -> None:
    async with answering(REFUSED) as (answers, calls):
        answers.start(gateway.AddReaction(message_id=MessageId("om_1"), emoji_type="OK"))
        await trio.sleep(60)
        assert len(calls) == 1
