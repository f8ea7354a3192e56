"""What a channel session was given and does not read: its sender learns of it, once."""

from __future__ import annotations

import json

import trio
from trio.testing import MockClock

from actors.kit.cleanup import CleanupBudget
from actors.messages import gateway, lane
from actors.turns import show_given
from protocol.ids import ChatId, EventId, MessageId, OpenId, RowId, TurnId
from protocol.platform.outcomes import NoAnswer, Outcome
from protocol.routing.delivery import Offer, Prompt
from tests.actors.turns.test_turns import ACCOUNT, World, open_world

NOTICE = "blue has not read this yet."


def given_row() -> lane.Given:
    prompt = Prompt(
        kind="message",
        chat_id=ChatId("oc_1"),
        message_id=MessageId("om_user"),
        sender_id=OpenId("ou_1"),
        chat_type="p2p",
        content="hello",
    )
    offer = Offer(
        row_id=RowId(1),
        account=ACCOUNT,
        event_id=EventId("e1"),
        attempt=1,
        lease_epoch=1,
        prompt=prompt,
    )
    return lane.Given(offer=offer, turn_id=TurnId("t"), alias="blue")


def notices(operations: list[gateway.Operation]) -> list[str]:
    return [
        json.loads(one.content_json)["text"]
        for one in operations
        if isinstance(one, gateway.ReplyMessage)
    ]


async def show(world: World, given: lane.Given) -> None:
    await show_given(given, world.peers, CleanupBudget(5.0))


async def test_after_two_minutes_unread_it_is_shown_once(autojump_clock: MockClock) -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        given = given_row()
        nursery.start_soon(show, world, given)
        await trio.sleep(119)
        assert notices(world.done) == []
        await trio.sleep(2)
        assert notices(world.done) == [NOTICE]
        await trio.sleep(3_600)
        assert notices(world.done) == [NOTICE]
        assert world.reactions != [], "it still is not answered"
        given.end()
        await trio.sleep(5)
        assert world.reactions == []


async def test_what_is_read_or_over_in_time_is_not_mentioned(autojump_clock: MockClock) -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        read, answered = given_row(), given_row()
        nursery.start_soon(show, world, read)
        nursery.start_soon(show, world, answered)
        await trio.sleep(100)
        read.read.set()
        answered.end()
        await trio.sleep(600)
        assert notices(world.tried) == []
        read.end()


async def test_a_notice_that_was_not_answered_is_sent_again_under_its_one_key(
    autojump_clock: MockClock,
) -> None:
    lost = iter([NoAnswer(reason="cut"), NoAnswer(reason="cut")])

    def script(operation: gateway.Operation) -> Outcome | None:
        return next(lost, None) if isinstance(operation, gateway.ReplyMessage) else None

    async with open_world(script) as world, trio.open_nursery() as nursery:
        given = given_row()
        nursery.start_soon(show, world, given)
        await trio.sleep(200)
        tried = [one for one in world.tried if isinstance(one, gateway.ReplyMessage)]
        assert len(tried) == 3
        assert len({one.uuid for one in tried}) == 1
        assert notices(world.done) == [NOTICE]
        given.end()
