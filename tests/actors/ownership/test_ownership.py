"""Ownership with the real journal, whose commits are made slow or lost, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.kit.mailbox import ask
from actors.messages import lane, ownership
from actors.ownership.lanes import Lanes
from protocol.ids import AccountId, ConnectionId, OpenId, PlaceKey, SessionId, place_key
from protocol.routing.roster import StartedAgent
from tests.actors.ownership.world import ACCOUNT, CHAT, A, B, open_world
from tests.kit.asking import gone_asker

pytestmark = pytest.mark.virtual_time


async def test_a_row_that_was_offered_too_late_is_found_while_running() -> None:
    async with open_world(A) as world:
        await world.row()
        world.disk.commit_s = 6.0
        assert await world.next(A, 1) is None
        world.disk.commit_s = 0.01
        world.notices.clear()
        await trio.sleep(10)
        assert A in world.woken()
        row = await world.offered(A, 1)
        assert row.prompt.content == "prompt 1"


async def test_whoever_has_rows_waiting_is_woken_now_and_then() -> None:
    """Whatever became of the wake: nobody reported these rows to ownership."""
    async with open_world(A, B) as world:
        await trio.sleep(1)
        world.notices.clear()
        await world.row()
        await trio.sleep(11)
        assert set(world.woken()) == {A}, "the owner's: they are bound to nobody"


async def test_a_row_whose_lane_has_given_up_asking_is_given_at_the_next_question() -> None:
    async with open_world(A) as world:
        await world.row()
        await world.row()
        world.disk.commit_s = 3.0
        with pytest.raises(trio.TooSlowError):
            await world.next(A, 1, within_s=2.0)
        world.disk.commit_s = 0.01
        await trio.sleep(5)
        first = await world.offered(A, 1)
        assert first.prompt.content == "prompt 1", "the next one has overtaken it"


async def test_a_question_for_a_row_whose_asker_has_gone_offers_none() -> None:
    async with open_world(A) as world:
        await world.row()
        question = ownership.Next(session_id=A, connection_id=ConnectionId(1), reply=gone_asker())
        await world.tx.send(question)
        await trio.sleep(1)
        assert (await world.offered(A, 1)).attempt == 1


async def test_a_question_for_a_row_that_arrives_twice_offers_each_row_once() -> None:
    async with open_world(A) as world:
        for _ in range(2):
            await world.row()
        world.disk.commit_s = 1.0
        given: list[str] = []

        async def take() -> None:
            row = await world.next(A, 1)
            given.extend([row.prompt.content] if row else [])

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(take)
        assert sorted(given) == ["prompt 1", "prompt 2"][: len(given)]
        assert len(set(given)) == len(given) >= 1


async def test_a_connection_that_ends_releases_what_it_does_not_know_of() -> None:
    async with open_world(A) as world:
        await world.row()
        world.disk.commit_s = 6.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.next, A, 1)
            await trio.sleep(1)
            await world.tx.send(ownership.ConnectionEnded(connection_id=ConnectionId(1)))
        world.disk.commit_s = 0.01
        await trio.sleep(6)
        await world.register(A, 2, "dispatcher")
        assert await world.next(A, 2) is not None


async def test_a_link_that_gave_up_registering_leaves_no_session() -> None:
    async with open_world(A) as world:
        await wait_all_tasks_blocked()  # what is remembered of it is stored as well
        world.disk.commit_s = 3.0
        async with trio.open_nursery() as nursery:
            # A dispatcher's registration is stored, which keeps the loop for 3 s.
            nursery.start_soon(world.register, B, 2, "dispatcher")
            await trio.sleep(0.1)
            with pytest.raises(trio.TooSlowError):
                await world.register(SessionId("gone"), 3, within_s=1.0)
        world.disk.commit_s = 0.01
        status = await world.call(1, "feishu_channel_status")
        assert [one["sessionId"] for one in status["sessions"]] == ["a", "b"]


@pytest.mark.parametrize(
    "message",
    [
        lambda: ownership.CallTool(
            connection_id=ConnectionId(1),
            name="feishu_channel_acquire",
            args={"session_id": "b"},
            reply=gone_asker(),
        ),
        lambda: ownership.Bind(
            place=place_key(ACCOUNT, CHAT, None), session_id=B, reply=gone_asker()
        ),
        lambda: ownership.SetReplyMode(session_id=B, mode="final", reply=gone_asker()),
        lambda: ownership.Expect(
            session_id=SessionId("c"),
            started=StartedAgent(agent="x", alias="c", cwd="/", by=OpenId("ou_1")),
            reply=gone_asker(),
        ),
        lambda: ownership.Remove(session_id=B, reply=gone_asker()),
        lambda: ownership.PassChoice(
            session_id=B, option="mode", choice="plan", reply=gone_asker()
        ),
        lambda: ownership.PassResume(session_id=B, conversation="old", reply=gone_asker()),
    ],
    ids=["CallTool", "Bind", "SetReplyMode", "Expect", "Remove", "PassChoice", "PassResume"],
)
async def test_what_is_asked_by_one_who_has_gone_is_not_begun(
    message: Callable[[], ownership.OwnershipMessage],
) -> None:
    """Whoever asked was answered that nothing has changed."""
    async with open_world(A, B) as world:
        before = await world.stored_lease(), await world.roster()
        await world.tx.send(message())
        await world.call(1, "feishu_channel_status")  # comes after it
        assert (await world.stored_lease(), await world.roster()) == before
        with pytest.raises(trio.WouldBlock):
            world.links[2].receive_nowait()


async def test_a_lease_that_could_not_be_stored_in_time_does_not_stand_later() -> None:
    async with open_world(A, B) as world:
        before = await world.stored_lease()
        world.disk.commit_s = 6.0
        refusal = await world.call(1, "feishu_channel_acquire", session_id="b")
        assert "could not be stored" in refusal
        world.disk.commit_s = 0.01
        await trio.sleep(10)
        assert await world.stored_lease() == before
        status = await world.call(1, "feishu_channel_status")
        assert (status["owner_session_id"], status["lease_epoch"]) == ("a", 1)


async def test_the_end_of_a_turn_that_could_not_be_stored_is_stored_later() -> None:
    async with open_world(A) as world:
        await world.row()
        row = await world.offered(A, 1)
        world.disk.commit_s = 30.0
        await world.tx.send(ownership.RowAnswered(row_id=row.row_id))
        await world.tx.send(ownership.ConnectionEnded(connection_id=ConnectionId(1)))
        await trio.sleep(1)
        world.disk.commit_s = 0.01
        await trio.sleep(60)
        await world.register(A, 2, "dispatcher")
        assert await world.next(A, 2) is None


async def test_a_slow_journal_keeps_nobody_from_asking_where_a_chat_is_routed() -> None:
    async with open_world(A) as world:
        await world.row()
        row = await world.offered(A, 1)
        world.disk.commit_s = 3.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.call, 1, "feishu_channel_status")
            await world.tx.send(ownership.RowAnswered(row_id=row.row_id))
            await world.tx.send(ownership.ConnectionEnded(connection_id=ConnectionId(1)))
            target: ownership.ChatTarget = await ask(
                world.tx,
                lambda reply: ownership.FindTarget(place=place_key(ACCOUNT, CHAT), reply=reply),
                within_s=0.1,
            )
            assert not target.live


async def test_only_the_session_a_chat_went_to_is_woken() -> None:
    async with open_world(A) as world:
        for number in range(2, 102):
            session = SessionId(f"s{number}")
            await world.register(session, number)
            await world.bind(PlaceKey(f"oc_{number}"), session)
        await wait_all_tasks_blocked()
        world.notices.clear()
        await world.bind(PlaceKey("oc_2"), SessionId("s3"))
        await world.register(SessionId("s5"), 500)
        await wait_all_tasks_blocked()
        assert set(world.woken()) <= {"s3", "s5"}


async def test_notices_to_a_host_that_does_not_read_are_merged() -> None:
    lanes_tx, lanes_rx = trio.open_memory_channel[lane.LaneMessage](0)
    lanes = Lanes(lanes_tx)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lanes.run)
        await wait_all_tasks_blocked()
        lanes.wake(B)
        await wait_all_tasks_blocked()  # B's is on its way; what follows is kept
        for _ in range(10_000):
            lanes.wake(A)
            lanes.wake(B)
        received = [await lanes_rx.receive() for _ in range(3)]
        assert sorted(one.session_id for one in received if isinstance(one, lane.Wake)) == [A, B, B]
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            lanes_rx.receive_nowait()
        nursery.cancel_scope.cancel()


async def test_links_that_start_anew_end_every_session_of_before() -> None:
    async with open_world(A, B) as world:
        await world.tx.send(ownership.LinksStarted())
        await world.register(A, 3, "dispatcher")
        status = await world.call(3, "feishu_channel_status")
        assert [one["sessionId"] for one in status["sessions"]] == ["a"]


async def test_a_row_that_became_ready_without_a_notice_is_asked_for() -> None:
    async with open_world(A) as world:
        assert await world.next(A, 1) is None
        await world.row()  # and the intake has crashed before it could send its notice
        world.notices.clear()
        await world.tx.send(ownership.IntakeStarted())
        await wait_all_tasks_blocked()
        assert world.woken() == [A]


async def test_two_bots_in_one_group_share_no_binding() -> None:
    async with open_world(A, B) as world:
        other = AccountId("other")
        await world.bind(place_key(other, CHAT), B)
        await world.row(CHAT)
        await world.row(CHAT, other)
        of_other, of_default = await world.next(B, 2), await world.next(A, 1)
        assert of_other is not None
        assert of_default is not None
        assert (of_other.account, of_default.account) == (other, ACCOUNT)
        status = await world.call(1, "feishu_channel_status")
        assert status["bindings"] == {"other/oc_1": "b"}
        await world.row(CHAT, other)
        await world.tx.send(ownership.ConnectionEnded(connection_id=ConnectionId(2)))
        await world.bind(place_key(other, CHAT), None)
        for _ in range(2):
            row = await world.offered(A, 1)
            assert row.account == other, "it follows the binding of its own account"


async def test_a_new_session_is_admitted_when_its_role_is_stored_and_not_before() -> None:
    async with open_world(A) as world:
        await trio.sleep(1)
        world.disk.commit_s = 2.0
        began_at = trio.current_time()
        assert isinstance(await world.register(B, 2), ownership.Admitted)
        assert trio.current_time() - began_at >= 2.0
        world.disk.commit_s = 600.0
        refused = await world.register(SessionId("c"), 3)
        assert isinstance(refused, ownership.NotAdmitted)
        assert "could not be stored" in refused.message
        world.disk.commit_s = 0.0
