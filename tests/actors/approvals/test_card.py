"""The card of a request is brought to its end, wherever its actor is cut."""

from __future__ import annotations

import pytest
import trio

from actors.approvals.actor import run
from actors.approvals.card import ApprovalCard
from actors.approvals.closing import close_what_was_left
from actors.messages import approvals, gateway, journal, link
from protocol.cards import approval
from protocol.ids import ChatId, ConnectionId, MessageId, OpenId, SessionId, TurnId
from protocol.routing.access import Policy
from protocol.strings import on_card
from protocol.wire import messages as wire
from tests.actors.approvals.world import (
    ACCOUNT,
    MESSAGE,
    PLACE,
    REQUEST,
    World,
    asked_under,
    serving,
)

pytestmark = pytest.mark.virtual_time

OPENING, LAST = '{"buttons":1}', '{"buttons":0}'


def card_of(world: World) -> ApprovalCard:
    return ApprovalCard(asked_under("k"), OPENING, None, world.peers)


@pytest.mark.parametrize("cut_after_s", [0.0, 0.5, 1.0, 1.5, 2.5])
async def test_cut_at_any_moment_no_button_is_left(cut_after_s: float) -> None:
    world = World()
    world.answers_after_s = 1.0
    card = card_of(world)
    async with serving(world), trio.open_nursery() as nursery:
        nursery.start_soon(card.run, 3_600)
        await trio.sleep(cut_after_s)
        card.end(LAST)
        nursery.cancel_scope.cancel()
    sends = [one for one in world.calls if isinstance(one, gateway.ReplyMessage)]
    assert len({(one.uuid, one.content_json) for one in sends}) <= 1, "one message, one key"
    ends = [one for one in world.calls if isinstance(one, gateway.PatchMessage)]
    assert [(one.message_id, one.content_json) for one in ends] == [(MESSAGE, LAST)] * bool(sends)
    assert world.left == {}


@pytest.mark.parametrize("killed_after_s", [0.2, 0.7, 1.5])
async def test_killed_as_the_card_is_sent_the_next_start_leaves_no_button(
    killed_after_s: float,
) -> None:
    """Before the platform shows it, before it has answered so, and after."""
    world = World()
    world.answers_after_s = 1.0
    async with serving(world):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(card_of(world).run, 3_600)
            await trio.sleep(killed_after_s)
            world.dead = True
            nursery.cancel_scope.cancel()
        world.dead = False
        await trio.sleep(1)
        await close_what_was_left(world.peers)
    assert world.shown[MESSAGE] != OPENING
    assert len({one.uuid for one in world.calls if isinstance(one, gateway.ReplyMessage)}) == 1
    assert world.left == {}


async def test_without_an_entry_nothing_is_sent() -> None:
    world = World()
    world.journal_fails = True
    async with serving(world), trio.open_nursery() as nursery:
        card = card_of(world)
        nursery.start_soon(card.run, 3_600)
        await trio.sleep(30)
        assert world.calls == []
        world.journal_fails = False
        await trio.sleep(5)
        assert world.shown == {MESSAGE: OPENING}, "once the journal can"
        card.end(LAST)
    assert world.shown == {MESSAGE: LAST}
    assert world.left == {}


async def test_a_card_nobody_can_find_any_more_is_not_sent_again() -> None:
    """The platform knows a uuid for an hour: after that the call would be another message."""
    world = World()
    opening = journal.ApprovalOpening(
        reply_to=MessageId("om"),
        chat_id=ChatId("oc"),
        in_thread=False,
        content_json=OPENING,
        sent_at_ms=-3_600_000,
    )
    world.left["k"] = journal.ApprovalLeft(
        entry_id="k", account=ACCOUNT, last_card=LAST, opening=opening
    )
    async with serving(world):
        await close_what_was_left(world.peers)
    assert (world.calls, world.left) == ([], {})


async def test_after_an_hour_the_agent_is_answered_and_the_card_shows_it() -> None:
    world = World()
    link_tx, link_rx = trio.open_memory_channel[link.LinkMessage](10)
    ask = approvals.Ask(
        connection_id=ConnectionId(1),
        session_id=SessionId("s"),
        alias="api",
        turn_id=TurnId("turn_1"),
        account=ACCOUNT,
        place=PLACE,
        request=REQUEST,
        shown=approval.Shown(start="make"),
        file=None,
        link=link_tx,
    )
    policy = Policy(allow_from=frozenset({OpenId("ou")}))
    async with serving(world), trio.open_nursery() as nursery:
        await nursery.start(run, world.peers, world.own_rx)
        await world.peers.own_tx.send(approvals.AccessIs(account=ACCOUNT, policy=policy))
        began_at = trio.current_time()
        await world.peers.own_tx.send(ask)
        with trio.fail_after(2 * 3_600):
            verdict = await link_rx.receive()
        assert 3_600 <= trio.current_time() - began_at < 3_660
        assert verdict == wire.PermissionVerdict(request_id="q", outcome="cancelled")
        await trio.testing.wait_all_tasks_blocked()
        assert on_card.APPROVAL_EXPIRED.en in world.shown[MESSAGE]
        assert '"button"' not in world.shown[MESSAGE]
        nursery.cancel_scope.cancel()
