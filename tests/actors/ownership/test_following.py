"""Rows, turns and connections follow the lease as it is stored, and nothing else."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from actors.kit.mailbox import ask
from actors.messages import lane, link, ownership
from actors.ownership.rows import OFFERED_ROWS_MAX, UNACKED_ROWS_MAX
from protocol.ids import ConnectionId, RowId, SessionId, place_key
from protocol.routing.delivery import Offer
from protocol.routing.lease import LeaseState
from protocol.wire import messages as wire
from tests.actors.ownership.world import ACCOUNT, CHAT, A, B, World, open_world

pytestmark = pytest.mark.virtual_time

PLACE = place_key(ACCOUNT, CHAT)


def revoked(world: World) -> list[tuple[SessionId, RowId]]:
    return [
        (one.session_id, one.row_id) for one in world.notices if isinstance(one, lane.RowRevoked)
    ]


async def ack(world: World, connection: int, row: Offer, attempt: int | None = None) -> None:
    await world.tx.send(
        ownership.RowAcked(
            connection_id=ConnectionId(connection),
            ack=wire.Ack(event_id=row.event_id, attempt=attempt or row.attempt),
        )
    )


async def target(world: World) -> ownership.ChatTarget:
    return await ask(
        world.tx, lambda reply: ownership.FindTarget(place=PLACE, reply=reply), within_s=10
    )


async def test_who_leaves_admits_nobody_and_offers_nothing() -> None:
    async with open_world(A) as world:
        await world.row()
        await ask(world.tx, lambda reply: ownership.Leaving(reply=reply), within_s=10)
        sent = world.links[1].receive_nowait()
        assert isinstance(sent, link.LeaveLink)
        assert (sent.reason, sent.retry_after_ms) == ("shutdown", 1_000)
        assert await world.next(A, 1) is None
        refused = await world.register(B, 2)
        assert isinstance(refused, ownership.NotAdmitted)
        assert refused.code == "draining"


async def test_a_row_that_was_on_its_way_as_the_channel_moved_goes_to_the_new_owner() -> None:
    async with open_world(A, B) as world:
        await world.row()
        world.disk.commit_s = 1.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(world.call, 1, "feishu_channel_acquire", session_id="b"))
            await trio.sleep(0.5)
            assert await world.next(A, 1) is None, "the lease was being stored as it asked"
        world.disk.commit_s = 0.01
        assert revoked(world) == []
        row = await world.offered(B, 2)
        assert row.lease_epoch == 2


async def test_a_row_that_was_on_its_way_as_the_daemon_leaves_waits() -> None:
    async with open_world(A) as world:
        await world.row()
        world.disk.commit_s = 1.0
        async with trio.open_nursery() as nursery:

            async def ask_for_one() -> None:
                assert await world.next(A, 1) is None

            nursery.start_soon(ask_for_one)
            await trio.sleep(0.5)
            await ask(world.tx, lambda reply: ownership.Leaving(reply=reply), within_s=10)


async def test_an_unacked_row_is_taken_back_where_the_channel_moved() -> None:
    async with open_world(A, B) as world:
        await world.row()
        row = await world.offered(A, 1)
        await trio.sleep(1)
        world.notices.clear()
        await world.call(1, "feishu_channel_acquire", session_id="b")
        await trio.sleep(1)
        assert revoked(world) == [(A, row.row_id)]
        assert B in world.woken()
        again = await world.offered(B, 2)
        assert (again.row_id, again.attempt) == (row.row_id, 2)


async def test_an_acked_row_stays_where_it_is() -> None:
    async with open_world(A, B) as world:
        await world.row()
        row = await world.offered(A, 1)
        await ack(world, 1, row)
        await world.call(1, "feishu_channel_acquire", session_id="b")
        await trio.sleep(1)
        assert revoked(world) == []
        assert await world.next(B, 2) is None


async def test_an_ack_wakes_a_channel_session_that_held_all_it_may() -> None:
    async with open_world() as world:
        await world.register(A, 1, "dispatcher", capabilities=frozenset())
        held: list[Offer] = []
        for _ in range(UNACKED_ROWS_MAX + 1):
            await world.row()
        while rows := await world.next_rows(A, 1):
            assert len(rows) <= OFFERED_ROWS_MAX
            held += rows
        assert len(held) == UNACKED_ROWS_MAX
        await trio.sleep(1)
        world.notices.clear()
        ready = ownership.RowReady(row_id=RowId(1), place=PLACE, dispatched_to=A)
        await world.tx.send(ready)
        await trio.sleep(1)
        assert world.woken() == []  # it would be given nothing
        await ack(world, 1, held[0])
        await trio.sleep(1)
        assert world.woken() == [A]
        assert await world.next(A, 1) is not None
        await ack(world, 1, held[1], attempt=7)
        assert await world.next(A, 1) is None


async def test_rows_offered_together_are_given_back_as_one_each() -> None:
    async with open_world() as world:
        await world.register(A, 1, "dispatcher", capabilities=frozenset())
        for _ in range(3):
            await world.row()
        first = await world.next_rows(A, 1)
        assert [one.attempt for one in first] == [1, 1, 1]
        await ack(world, 1, first[1])
        await world.tx.send(ownership.ConnectionEnded(connection_id=ConnectionId(1)))
        await world.register(A, 2, "dispatcher", capabilities=frozenset())
        again = await world.next_rows(A, 2)
        assert [one.event_id for one in again] == [first[0].event_id, first[2].event_id]
        assert [one.attempt for one in again] == [2, 2]


async def test_an_ack_of_another_attempt_changes_nothing() -> None:
    async with open_world(A) as world:
        await world.row()
        row = await world.offered(A, 1)
        await ack(world, 1, row, attempt=row.attempt + 1)
        await trio.sleep(1)
        await world.tx.send(ownership.ConnectionEnded(connection_id=ConnectionId(1)))
        await world.register(A, 2, "dispatcher")
        again = await world.offered(A, 2)
        assert again.attempt == 2


# ── what could not be stored ──


async def test_a_chat_stays_where_it_is_when_its_move_could_not_be_stored() -> None:
    async with open_world(A, B) as world:
        world.disk.commit_s = 6.0
        assert not await world.bind(PLACE, B)
        world.disk.commit_s = 0.01
        await trio.sleep(20)
        found = await target(world)
        assert found.session_id == A


async def test_a_dispatcher_that_left_while_nothing_could_be_stored_is_still_the_dispatcher() -> (
    None
):
    """What holds after a restart is what is stored, so that is what holds before it, too."""
    async with open_world(A) as world:
        await world.register(SessionId("c"), 3, "dispatcher")
        await world.register(B, 2)
        world.disk.commit_s = 6.0
        await world.tx.send(ownership.ConnectionEnded(connection_id=ConnectionId(3)))
        await trio.sleep(30)
        world.disk.commit_s = 0.01
        await trio.sleep(20)
        status = await world.call(2, "feishu_channel_status")
        stored = await world.stored_lease()
        assert isinstance(stored, LeaseState)
        assert status["dispatcher_session_id"] == stored.dispatcher
        assert {one["sessionId"] for one in status["sessions"]} == {"a", "b"}
        reclaimed = await world.call(1, "feishu_channel_reclaim")
        assert reclaimed.startswith("Feishu channel owner reclaimed by dispatcher a ")
        stored = await world.stored_lease()
        assert isinstance(stored, LeaseState)
        assert (stored.owner, stored.dispatcher) == (A, A), "who is there takes the place"


# ── while nobody is there ──


async def test_a_chat_is_the_owners_also_while_it_is_away() -> None:
    async with open_world(A) as world:
        await world.tx.send(ownership.ConnectionEnded(connection_id=ConnectionId(1)))
        await trio.sleep(1)
        found = await target(world)
        assert (found.session_id, found.live) == (A, False)
