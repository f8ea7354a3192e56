"""One lane: order of turns, cancellation and its deadline, in virtual time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import lanes
from actors.kit.mailbox import ActorGone, Answer, Reply, ask
from actors.lanes.actor import LANE_MAILBOX_MESSAGES_MAX
from actors.lanes.lane import TURNS_SHOWN_MAX, Lane
from actors.lanes.peers import Peers
from actors.lanes.settings import LaneSettings
from actors.messages import journal, lane, link, ownership, turn
from protocol.config.keys import FeishuReplyMode
from protocol.ids import (
    AccountId,
    ChatId,
    ConnectionId,
    EventId,
    MessageId,
    OpenId,
    RowId,
    SessionId,
    TurnId,
)
from protocol.routing.delivery import Offer, Prompt
from protocol.wire import messages as wire
from protocol.wire import vocabulary
from tests.kit.asking import gone_asker

pytestmark = pytest.mark.virtual_time

SESSION = SessionId("s")
CONNECTION = ConnectionId(1)
CANCEL_DEADLINE_S = 10.0


def row(number: int, chat: str = "oc_1", sender: str = "ou_1", kind: Any = "p2p") -> Offer:
    return Offer(
        row_id=RowId(number),
        account=AccountId("default"),
        event_id=EventId(f"e{number}"),
        attempt=1,
        lease_epoch=1,
        prompt=Prompt(
            kind="message",
            chat_id=ChatId(chat),
            message_id=MessageId(f"om_{number}"),
            sender_id=OpenId(sender),
            chat_type=kind,
            content=f"prompt {number}",
        ),
    )


def own_turn(
    turn_id: str, *, earlier_ended: bool = True
) -> Callable[[Reply[Any]], lane.OpenOwnTurn]:
    """Return the question that opens a turn nobody asked for, but for its reply."""

    def build(reply: Reply[Any]) -> lane.OpenOwnTurn:
        return lane.OpenOwnTurn(
            session_id=SESSION,
            connection_id=CONNECTION,
            turn_id=TurnId(turn_id),
            place=journal.TurnPlace(
                account=AccountId("default"),
                chat_id=ChatId("oc_1"),
                thread_id=None,
                chat_type="p2p",
                message_id=MessageId("om_1"),
                sender_id=OpenId("ou_1"),
            ),
            title=None,
            earlier_ended=earlier_ended,
            reply=reply,
        )

    return build


class World:
    """The lane's peers: ownership with rows to give, a link, and turns as they run."""

    settings: LaneSettings
    peers: Peers

    def __init__(self) -> None:
        self.rows: list[Offer] = []
        self.answered: list[RowId] = []
        self.unresponsive = False
        self.silent = False
        """Whether ownership leaves questions for rows unanswered."""
        self.unanswered: list[ownership.Next] = []
        self.marks: list[MessageId] = []
        self.given: list[lane.Given] = []
        self.turns: dict[TurnId, list[turn.TurnInput]] = {}
        self.openings: list[turn.TurnOpening] = []
        self.crash_turns = False
        self.own: trio.MemorySendChannel[lane.LaneMessage] | None = None
        """The mailbox of the last turn's lane."""
        self.repaired: list[TurnId] = []
        self.sent: list[link.LinkMessage] = []
        self.lanes_tx, self.lanes_rx = trio.open_memory_channel[lane.LaneMessage](100)
        self.ownership_tx, self.ownership_rx = trio.open_memory_channel[ownership.OwnershipMessage](
            10
        )
        self.link_tx, self.link_rx = trio.open_memory_channel[link.LinkMessage](256)

    async def serve_ownership(self) -> None:
        async for message in self.ownership_rx:
            match message:
                case ownership.Next() if self.silent:
                    self.unanswered.append(message)
                case ownership.Next():
                    with message.reply:
                        message.reply.send((self.rows.pop(0),) if self.rows else ())
                case ownership.RowAnswered(row_id=row_id):
                    self.answered.append(row_id)
                case ownership.Unresponsive(unresponsive=unresponsive):
                    self.unresponsive = unresponsive

    async def serve_link(self) -> None:
        async for message in self.link_rx:
            self.sent.append(message)

    async def mark(self, given: lane.Given) -> None:
        message_id = given.offer.prompt.message_id
        self.marks.append(message_id)
        self.given.append(given)
        await given.over.wait()
        self.marks.remove(message_id)

    async def complete(self, offer: Offer) -> Offer:
        await trio.lowlevel.checkpoint()
        return offer

    async def show_turn(
        self,
        opening: turn.TurnOpening,
        inbox: turn.InputReceiver,
        own: trio.MemorySendChannel[lane.LaneMessage],
    ) -> None:
        """A turn's actor as small as it can be: it ends with the proxy's end or a loss."""
        self.openings.append(opening)
        self.own = own
        received = self.turns.setdefault(opening.turn_id, [])
        if self.crash_turns:
            raise RuntimeError("a bug in the card")
        with inbox:
            async for message in inbox:
                received.append(message)
                match message:
                    case wire.TurnEnd(status=status):
                        await own.send(lane.TurnEnded(turn_id=opening.turn_id, status=status))
                        return
                    case turn.SessionLost():
                        return

    async def finish_crashed(self, opening: turn.TurnOpening) -> None:
        self.repaired.append(opening.turn_id)

    def attached(self, *capabilities: str, connection: int = 1) -> lane.Attached:
        return lane.Attached(
            session_id=SESSION,
            alias="api",
            connection_id=ConnectionId(connection),
            capabilities=frozenset(capabilities or ("turns", "cancel")),
            link=self.link_tx.clone(),
        )

    async def attach(self, *capabilities: str, connection: int = 1) -> None:
        await self.lanes_tx.send(self.attached(*capabilities, connection=connection))
        await wait_all_tasks_blocked()

    async def give(self, *rows: Offer) -> None:
        self.rows += rows
        await self.lanes_tx.send(lane.Wake(session_id=SESSION))
        await wait_all_tasks_blocked()

    async def stop(self, by: str = "ou_1", chat: str = "oc_1", **more: Any) -> lane.StopAnswer:
        build: Callable[[Reply[lane.StopAnswer]], lane.LaneMessage] = lambda reply: lane.StopTurn(  # noqa: E731
            session_id=SESSION,
            turn_id=more.get("turn_id"),
            chat_id=ChatId(chat),
            by=OpenId(by),
            by_admin=more.get("by_admin", False),
            reason="user",
            reply=reply,
        )
        answer = await ask(self.lanes_tx, build, within_s=1)
        await wait_all_tasks_blocked()
        return answer

    def stopped(self, mode: turn.Mode) -> lane.Stopped:
        """What who stopped the last turn is answered."""
        turn_id = self.openings[-1].turn_id
        return lane.Stopped(session_id=SESSION, turn_id=turn_id, alias="api", mode=mode)

    async def is_shown(self, turn_id: TurnId) -> bool:
        build: Callable[[Reply[bool]], lane.LaneMessage] = lambda reply: lane.StopShown(  # noqa: E731
            session_id=SESSION, turn_id=turn_id, reply=reply
        )
        return await ask(self.lanes_tx, build, within_s=60)

    async def wait_shown(self, turn_id: TurnId, seen: list[TurnId]) -> None:
        assert await self.is_shown(turn_id)
        seen.append(turn_id)

    def offered(self) -> list[str]:
        return [m.offer.prompt.content for m in self.sent if isinstance(m, link.Give)]

    def cancels(self) -> list[str]:
        return [m.reason for m in self.sent if isinstance(m, wire.Cancel)]

    async def end(self, number: int, status: vocabulary.TurnStatus = "complete") -> None:
        """Let the proxy end the turn of the *number*-th offer."""
        offers = [m for m in self.sent if isinstance(m, link.Give)]
        inputs = offers[number].turn
        assert inputs is not None
        turn_id = offers[number].turn_id
        with inputs:
            await inputs.send(wire.TurnEnd(turn_id=turn_id, status=status))
        await wait_all_tasks_blocked()


@asynccontextmanager
async def open_world(
    group_reply_modes: dict[AccountId, FeishuReplyMode] | None = None,
) -> AsyncIterator[World]:
    world = World()
    numbers = iter(range(1000))
    settings = world.settings = LaneSettings(
        reply_modes={},
        group_reply_modes=group_reply_modes or {},
        session_reply_mode="verbose",
        cancel_deadline_s=CANCEL_DEADLINE_S,
        random_bytes=lambda size: next(numbers).to_bytes(size, "big"),
    )
    peers = world.peers = Peers(
        ownership_tx=world.ownership_tx,
        show_turn=world.show_turn,
        finish_crashed=world.finish_crashed,
        mark=world.mark,
        complete=world.complete,
    )

    async def run_lane(
        session_id: SessionId,
        inbox: trio.MemoryReceiveChannel[lane.LaneMessage],
        own: trio.MemorySendChannel[lane.LaneMessage],
        retire: Callable[[], None],
    ) -> None:
        await Lane(session_id, settings, peers, own, retire).serve(inbox)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.serve_ownership)
        nursery.start_soon(world.serve_link)
        await nursery.start(lanes.run, world.lanes_rx, run_lane)
        yield world
        nursery.cancel_scope.cancel()


async def test_a_connection_that_comes_as_the_lane_ends_is_served() -> None:
    """Its mailbox may hold more than the message after which nothing is left to do."""
    async with open_world() as world:
        own, inbox = trio.open_memory_channel[lane.LaneMessage](10)
        own.send_nowait(lane.Detached(session_id=SESSION, connection_id=CONNECTION))
        own.send_nowait(world.attached(connection=2))
        world.rows.append(row(1))
        retired = trio.Event()
        lane_of_session = Lane(SESSION, world.settings, world.peers, own, retired.set)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane_of_session.serve, inbox)
            await wait_all_tasks_blocked()
            assert world.offered() == ["prompt 1"]
            assert not retired.is_set()
            nursery.cancel_scope.cancel()


async def test_a_turns_session_gets_one_row_at_a_time() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1), row(2), row(3))
        assert world.offered() == ["prompt 1"]
        await world.end(0)
        assert world.offered() == ["prompt 1", "prompt 2"]
        await world.end(1, "error")
        assert world.offered() == ["prompt 1", "prompt 2", "prompt 3"]
        assert world.answered == [1, 2]


async def test_what_a_channel_session_was_given_is_marked_until_it_is_answered_or_lost() -> None:
    async with open_world() as world:
        await world.attach("permission")
        await world.give(row(1), row(2), row(3))
        assert sorted(world.marks) == ["om_1", "om_2", "om_3"]
        await world.lanes_tx.send(lane.RowClosed(session_id=SESSION, row_id=RowId(2)))
        await wait_all_tasks_blocked()
        assert sorted(world.marks) == ["om_1", "om_3"]
        await world.lanes_tx.send(lane.Detached(session_id=SESSION, connection_id=ConnectionId(1)))
        await wait_all_tasks_blocked()
        assert world.marks == []


async def test_so_many_marks_at_once_and_no_more() -> None:
    async with open_world() as world:
        await world.attach("permission")
        await world.give(*(row(number) for number in range(66)))
        assert len(world.offered()) == 66
        assert len(world.marks) == 64
        await world.lanes_tx.send(lane.RowClosed(session_id=SESSION, row_id=RowId(0)))
        await world.give(row(100))
        assert len(world.marks) == 64
        assert "om_100" in world.marks


async def test_a_question_for_a_row_that_nobody_answered_is_asked_again() -> None:
    async with open_world() as world:
        world.silent = True
        world.rows = [row(1)]
        await world.attach()
        await trio.sleep(5)
        world.silent = False
        await trio.sleep(2)
        assert world.offered() == ["prompt 1"], "without another wake"
        world.unanswered.clear()


async def test_a_tool_call_of_a_session_reads_what_it_was_given_until_then() -> None:
    async with open_world() as world:
        await world.attach("permission")
        await world.give(row(1))
        assert not world.given[0].read.is_set()
        await world.lanes_tx.send(lane.ToolCalled(session_id=SESSION))
        await world.give(row(2))
        assert [given.read.is_set() for given in world.given] == [True, False]
        assert world.marks == ["om_1", "om_2"], "neither is answered"
        await world.lanes_tx.send(lane.RowClosed(session_id=SESSION, row_id=RowId(2)))
        await wait_all_tasks_blocked()
        assert world.given[1].read.is_set()


async def test_a_channel_session_gets_rows_as_they_come() -> None:
    async with open_world() as world:
        await world.attach("permission")
        await world.give(row(1), row(2), row(3))
        assert world.offered() == ["prompt 1", "prompt 2", "prompt 3"]
        assert world.openings == []


async def test_groups_may_have_a_reply_mode_of_their_own() -> None:
    async with open_world({AccountId("default"): "streaming"}) as world:
        await world.attach()
        await world.give(row(1, kind="group"), row(2))
        await world.end(0)
        assert [opening.mode for opening in world.openings] == ["streaming", "streaming"]


async def test_a_stop_is_answered_where_the_card_was_lost() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1))
        (opening,) = world.openings
        assert world.own is not None
        await world.own.send(lane.CardLost(turn_id=opening.turn_id))
        await wait_all_tasks_blocked()
        assert await world.stop() == world.stopped("static")
        (stop,) = world.turns[opening.turn_id]
        assert isinstance(stop, turn.Stop)
        assert stop.answered, "so the turn's own replies need not add that it stopped"


async def test_a_stop_is_shown_once_a_card_was_sent_or_the_turn_is_over() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        await world.attach()
        await world.give(row(1), row(2))
        seen: list[TurnId] = []
        first = world.openings[0].turn_id
        nursery.start_soon(world.wait_shown, first, seen)
        await wait_all_tasks_blocked()
        assert seen == []
        assert world.own is not None
        await world.own.send(lane.CardSent(turn_id=first))
        await wait_all_tasks_blocked()
        assert seen == [first]
        await world.wait_shown(first, seen)

        await world.end(0)
        second = world.openings[1].turn_id
        nursery.start_soon(world.wait_shown, second, seen)
        await wait_all_tasks_blocked()
        assert seen == [first, first]
        await world.end(1)
        assert seen == [first, first, second]
        await world.wait_shown(first, seen)
        assert seen[-1] == first, "long over"


async def test_nobody_knows_whether_a_stop_is_shown_after_a_crash() -> None:
    async with open_world() as world:
        world.crash_turns = True
        await world.attach()
        await world.give(row(1))
        turn_id = world.openings[0].turn_id
        assert not await world.is_shown(turn_id)
        await world.lanes_tx.send(lane.Detached(session_id=SESSION, connection_id=ConnectionId(1)))
        await wait_all_tasks_blocked()
        assert not await world.is_shown(turn_id), "there is no lane"


async def test_groups_are_static_and_direct_chats_stream() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1), row(2, kind="group"))
        await world.end(0)
        assert [opening.mode for opening in world.openings] == ["streaming", "static"]


async def test_stop_cancels_at_once_and_the_end_frees_the_lane() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1), row(2))
        assert await world.stop() == world.stopped("streaming")
        assert world.cancels() == ["user"]
        (inputs,) = world.turns.values()
        assert [type(message) for message in inputs] == [turn.Stop]
        assert await world.stop() == lane.NothingRunning(), "it is stopped already"
        assert world.offered() == ["prompt 1"]
        await world.end(0, "aborted")
        assert world.offered() == ["prompt 1", "prompt 2"]


async def test_an_agent_that_ignores_cancel_holds_the_lane_for_ten_seconds() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1), row(2))
        await world.stop()
        await trio.sleep(CANCEL_DEADLINE_S - 0.1)
        assert world.offered() == ["prompt 1"]
        await trio.sleep(0.2)
        assert world.offered() == ["prompt 1", "prompt 2"]
        assert world.unresponsive is True
        await world.end(0, "aborted")
        assert world.unresponsive is False, "it has ended at last"
        assert world.offered() == ["prompt 1", "prompt 2"], "and nothing of the next is touched"


async def test_an_end_that_is_owed_is_forgotten_with_the_connection() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1))
        await world.stop()
        await trio.sleep(CANCEL_DEADLINE_S + 0.1)
        assert world.unresponsive is True
        await world.attach(connection=2)
        assert world.unresponsive is False


async def test_only_those_who_may_can_stop_a_turn() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1, chat="oc_team", sender="ou_ann", kind="group"))
        refused = lane.NotAllowed()
        assert await world.stop(by="ou_bob", chat="oc_team") == refused
        assert await world.stop(by="ou_bob", chat="oc_elsewhere") == refused
        assert world.cancels() == []
        stopped = await world.stop(by="ou_bob", chat="oc_team", by_admin=True)
        assert stopped == world.stopped("static")
        await world.end(0, "aborted")
        await world.give(row(2, chat="oc_dm", sender="ou_ann"))
        stopped = await world.stop(by="ou_bob", chat="oc_dm")
        assert isinstance(stopped, lane.Stopped), "anyone in its direct chat"


async def test_a_stop_that_names_another_turn_stops_nothing() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1))
        assert await world.stop(turn_id=TurnId("turn_old")) == lane.NothingRunning()
        assert world.cancels() == []


async def test_a_lost_session_loses_its_turn_and_the_lane_ends_with_it() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1))
        await world.lanes_tx.send(lane.Detached(session_id=SESSION, connection_id=CONNECTION))
        await wait_all_tasks_blocked()
        (inputs,) = world.turns.values()
        assert [type(message) for message in inputs] == [turn.SessionLost]
        assert world.answered == []
        assert await world.stop() == lane.NothingRunning()
        await world.attach(connection=2)
        await world.give(row(2))
        assert world.offered() == ["prompt 1", "prompt 2"]


async def test_a_turn_for_a_link_that_is_over_leaves_nothing() -> None:
    async with open_world() as world:
        link_tx, link_rx = trio.open_memory_channel[link.LinkMessage](1)
        link_rx.close()
        await world.lanes_tx.send(msgspec.structs.replace(world.attached(), link=link_tx))
        await world.give(row(1))
        assert len(world.openings) == 1
        await world.lanes_tx.send(lane.Detached(session_id=SESSION, connection_id=CONNECTION))
        await wait_all_tasks_blocked()
        assert [name for name in task_names() if name.startswith("turn ")] == []


def task_names() -> list[str]:
    """Return what runs now, by its name."""
    root = trio.lowlevel.current_root_task()
    names, left = [], [root] if root is not None else []
    while left:
        task = left.pop()
        names.append(task.name)
        left += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return names


async def test_the_end_of_an_older_connection_is_no_loss() -> None:
    async with open_world() as world:
        await world.attach()
        await world.attach(connection=2)
        await world.lanes_tx.send(lane.Detached(session_id=SESSION, connection_id=CONNECTION))
        await world.give(row(1))
        assert world.offered() == ["prompt 1"]


async def test_a_stop_right_after_a_message_means_that_message() -> None:
    """Its row is ready, and may be on its way, when the word comes."""
    async with open_world() as world:
        await world.attach()
        world.rows.append(row(1))  # ready, and the lane was not woken yet
        assert await world.stop() == world.stopped("streaming")
        assert world.offered() == ["prompt 1"]
        await world.end(0, "aborted")

        # A row that is ready only after the question before was asked.
        world.silent = True
        await world.lanes_tx.send(lane.Wake(session_id=SESSION))
        await wait_all_tasks_blocked()
        answers: list[lane.StopAnswer] = []

        async def stop() -> None:
            answers.append(await world.stop())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await wait_all_tasks_blocked()
            world.silent = False
            world.rows.append(row(2))
            (asked,) = world.unanswered
            with asked.reply:
                asked.reply.send(())
        assert answers == [world.stopped("streaming")]
        assert world.offered() == ["prompt 1", "prompt 2"]


async def test_a_stop_whose_asker_has_gone_stops_nothing() -> None:
    """Its person was notified that nothing runs; what runs by now may be what they wrote since."""
    async with open_world() as world:
        await world.attach()
        await world.give(row(1))
        await world.lanes_tx.send(
            lane.StopTurn(
                session_id=SESSION,
                turn_id=None,
                chat_id=ChatId("oc_1"),
                by=OpenId("ou_1"),
                by_admin=True,
                reason="user",
                reply=gone_asker(),
            )
        )
        await wait_all_tasks_blocked()
        assert world.cancels() == []
        assert isinstance(await world.stop(), lane.Stopped)


async def test_a_turn_of_its_own_whose_asker_has_gone_is_not_opened() -> None:
    """Nobody would end it."""
    async with open_world() as world:
        await world.attach()
        await world.lanes_tx.send(own_turn("own-1")(gone_asker()))
        await wait_all_tasks_blocked()
        assert world.openings == []
        opened = await ask(world.lanes_tx, own_turn("own-1"), within_s=1)
        assert isinstance(opened, lane.OwnTurnOpened)


async def test_a_turn_of_its_own_follows_one_whose_actor_has_yet_to_read_its_end() -> None:
    """A proxy sends the end and the next opening back to back; neither may be refused or lost."""
    async with open_world() as world:
        await world.attach()
        first = await ask(world.lanes_tx, own_turn("own-1"), within_s=1)
        refused = await ask(world.lanes_tx, own_turn("own-2", earlier_ended=False), within_s=1)
        assert refused.why == "turn own-1 is open; end it first"
        second = await ask(world.lanes_tx, own_turn("own-3"), within_s=1)
        with first.turn, second.turn:
            await first.turn.send(wire.TurnEnd(turn_id=TurnId("own-1"), status="complete"))
            await wait_all_tasks_blocked()
            assert [type(one) for one in world.turns[TurnId("own-1")]] == [wire.TurnEnd]
            still_open = await ask(
                world.lanes_tx, own_turn("own-4", earlier_ended=False), within_s=1
            )
            assert still_open.why == "turn own-3 is open; end it first", "not ended with the first"


async def test_turns_of_its_own_whose_ends_are_not_shown_yet_are_bounded() -> None:
    async with open_world() as world, contextlib.AsyncExitStack() as open_turns:
        await world.attach()
        for number in range(TURNS_SHOWN_MAX):
            opened = await ask(world.lanes_tx, own_turn(f"own-{number}"), within_s=1)
            open_turns.enter_context(opened.turn)
        refused = await ask(world.lanes_tx, own_turn("own-more"), within_s=1)
        assert refused.why == "the ends of 64 turns are still being shown; open it later"


async def test_a_row_that_went_to_another_session_stops_its_turn_here() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1))
        await world.lanes_tx.send(lane.RowRevoked(session_id=SESSION, row_id=RowId(1)))
        await wait_all_tasks_blocked()
        assert world.cancels() == ["user"]
        await world.end(0, "aborted")
        assert world.answered == [], "the row is the other session's now"


async def test_a_recalled_message_stops_its_turn() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1))
        await world.lanes_tx.send(lane.StopRecalled(message_id=MessageId("om_1")))
        await wait_all_tasks_blocked()
        assert world.cancels() == ["recalled"]


async def test_leaving_stops_every_turn_and_starts_no_more() -> None:
    async with open_world() as world:
        await world.attach()
        await world.give(row(1), row(2))
        await ask(world.lanes_tx, lambda reply: lane.StopAll(reply=reply), within_s=1)
        await wait_all_tasks_blocked()
        assert world.cancels() == ["shutdown"]
        await world.end(0, "aborted")
        assert world.offered() == ["prompt 1"]


async def test_a_turn_whose_actor_crashes_is_finished_and_cancelled() -> None:
    async with open_world() as world:
        world.crash_turns = True
        await world.attach()
        await world.give(row(1))
        assert world.repaired == [world.openings[0].turn_id]
        assert world.cancels() == ["timeout"]
        world.crash_turns = False
        await world.end(0, "aborted")
        await world.give(row(2))
        assert world.offered() == ["prompt 1", "prompt 2"]


async def test_a_lane_that_crashes_with_a_full_mailbox_takes_no_other_with_it() -> None:
    lanes_tx, lanes_rx = trio.open_memory_channel[lane.LaneMessage](0)
    crash, attached = trio.Event(), trio.Event()

    async def run_lane(
        session_id: SessionId,
        inbox: trio.MemoryReceiveChannel[lane.LaneMessage],
        _own: trio.MemorySendChannel[lane.LaneMessage],
        _retire: Callable[[], None],
    ) -> None:
        if session_id == SESSION:
            await crash.wait()
            raise RuntimeError("a bug in the lane")
        await inbox.receive()
        attached.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(lanes.run, lanes_rx, run_lane)
        world = World()
        await lanes_tx.send(world.attached())
        for _ in range(LANE_MAILBOX_MESSAGES_MAX - 2):
            await lanes_tx.send(lane.Wake(session_id=SESSION))
        asked: Answer[lane.OwnTurnOpened | lane.OwnTurnRefused] = Answer()
        await lanes_tx.send(own_turn("own-1")(Reply(asked)))
        newer_tx, newer_rx = trio.open_memory_channel[link.LinkMessage](1)
        newer = msgspec.structs.replace(world.attached(connection=2), link=newer_tx)
        await lanes_tx.send(newer)  # waits in the host: the lane's mailbox is full
        await wait_all_tasks_blocked()
        crash.set()
        left = await newer_rx.receive()
        assert isinstance(left, link.LeaveLink), "its proxy connects again, which opens a new lane"
        with pytest.raises(ActorGone):
            await asked.receive()
        with trio.fail_after(1):
            await lanes_tx.send(
                msgspec.structs.replace(world.attached(), session_id=SessionId("other"))
            )
            await attached.wait()
        nursery.cancel_scope.cancel()


async def test_a_lane_does_not_ask_again_where_no_more_rows_were_ready() -> None:
    async with open_world() as world:
        asked = []

        async def next_row(row: Offer | None) -> None:
            with trio.fail_after(30):
                while not world.unanswered:
                    await trio.sleep(0.01)
            question = world.unanswered.pop()
            asked.append(question)
            with question.reply:
                question.reply.send(() if row is None else (row,))
            await wait_all_tasks_blocked()

        world.silent = True
        await world.attach("tools")
        await next_row(msgspec.structs.replace(row(1), more=True))
        await next_row(msgspec.structs.replace(row(2), more=False))
        await trio.sleep(60)
        assert (world.offered(), world.unanswered) == (["prompt 1", "prompt 2"], [])
        await world.lanes_tx.send(lane.Wake(session_id=SESSION))
        await next_row(None)
        assert len(asked) == 3
