"""Intake with the real journal: what dies, is late or comes twice; in virtual time."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import intake as intake_actor
from actors import journal as journal_actor
from actors.kit.mailbox import ask
from actors.messages import agents, approvals, gateway, intake, journal, lane, ownership
from protocol.ids import AccountId, ChatId, EventId, MessageId, OpenId, RowId, SessionId
from protocol.platform.outcomes import (
    Accepted,
    BotInfo,
    MessageSent,
    NoAnswer,
    Outcome,
    ReactionAdded,
    ReactionsFound,
)
from protocol.routing.access import Policy
from protocol.routing.delivery import Inbound
from protocol.routing.roster import KnownSession, SessionView
from tests.kit.scripted_platform import event

ACCOUNT = AccountId("default")
SESSION = SessionId("s")
ArgumentTs = TypeVarTuple("ArgumentTs")
ResultT = TypeVar("ResultT")


def message(number: int, text: str, chat: str = "oc_1") -> bytes:
    body = {
        "sender": {"sender_id": {"open_id": "ou_alice"}, "sender_type": "user"},
        "message": {
            "message_id": f"om_{number}",
            "chat_id": chat,
            "chat_type": "p2p",
            "message_type": "text",
            "content": json.dumps({"text": text}),
        },
    }
    return event("im.message.receive_v1", body, event_id=f"evt-{number}")


class World:
    """A journal that outlives the intake, and the intake's peers."""

    def __init__(self, attachments: Path) -> None:
        self.attachments = attachments
        self.journal_tx, self.journal_rx = trio.open_memory_channel[journal.JournalMessage](1024)
        self.tx, self.rx = trio.open_memory_channel[intake.IntakeMessage](1024)
        self.ownership_tx, self.ownership_rx = trio.open_memory_channel[ownership.OwnershipMessage](
            256
        )
        self.lanes_tx, self.lanes_rx = trio.open_memory_channel[lane.LaneMessage](256)
        self.gateway_tx, self.gateway_rx = trio.open_memory_channel[gateway.GatewayMessage](256)
        self.approvals_tx, _ = trio.open_memory_channel[approvals.ApprovalsMessage](8)
        self.agents_tx, self.agents_rx = trio.open_memory_channel[agents.AgentsMessage](8)
        self.numbers = 0
        self.bound: SessionId | None = None
        self.ready: list[RowId] = []
        self.dispatched: list[SessionId | None] = []
        self.started: list[str] = []
        self.start_agent_s = 0.0
        self.calls: list[gateway.ReplyMessage] = []
        self.platform_down = False
        self.platform_s = 0.01
        self.commit_s = 0.0
        self.busy = False
        """Whether the session has a turn in flight."""
        self.marks: list[str] = []
        """The waiting marks on messages."""
        self.mark_comes_s = 0.0
        """How long after its call went unanswered a mark is there; 0: it is answered."""

    # ── what happens to it ──────────────────────────────────────────────────

    async def append(self, text: str, chat: str = "oc_1") -> Inbound:
        """Commit a message of Alice's, as the connection does, and do not forward it."""
        self.numbers += 1
        payload = message(self.numbers, text, chat)
        appended: journal.Appended | journal.Failed = await ask(
            self.journal_tx,
            lambda reply: journal.Append(
                account=ACCOUNT,
                event_id=EventId(f"evt-{self.numbers}"),
                message_key=f"om_{self.numbers}",
                kind="message",
                payload=payload,
                received_at_ms=self.now_ms(),
                reply=reply,
            ),
            within_s=60,
        )
        assert isinstance(appended, journal.Appended)
        return Inbound(
            row_id=appended.row_id,
            account=ACCOUNT,
            event_id=EventId(f"evt-{self.numbers}"),
            kind="message",
            payload=payload,
            received_at_ms=self.now_ms(),
        )

    async def send(self, text: str, chat: str = "oc_1") -> Inbound:
        inbound = await self.append(text, chat)
        await self.tx.send(intake.Arrived(inbound=inbound))
        return inbound

    @staticmethod
    def now_ms() -> int:
        return int(trio.current_time() * 1000)

    # ── what it did ─────────────────────────────────────────────────────────

    def answers(self) -> list[str]:
        return [json.loads(one.content_json)["text"] for one in self.calls]

    async def received(self) -> list[RowId]:
        """Return the rows that are still ``received``."""
        found: tuple[Inbound, ...] | journal.Failed = await ask(
            self.journal_tx,
            lambda reply: journal.Unprepared(
                account=ACCOUNT, after_row=RowId(0), limit=1000, reply=reply
            ),
            within_s=60,
        )
        assert not isinstance(found, journal.Failed)
        return [one.row_id for one in found]

    # ── its peers ───────────────────────────────────────────────────────────

    def view(self) -> SessionView:
        return SessionView(
            session=KnownSession(session_id=SESSION, alias="api", agent="a", cwd="/w"), live=True
        )

    async def own(self) -> None:
        async for one in self.ownership_rx:
            match one:
                case ownership.FindTarget():
                    one.reply.send(
                        ownership.ChatTarget(
                            session_id=self.bound,
                            alias="api",
                            live=True,
                            capacity=journal.Capacity(
                                session_id=SESSION, takes_unbound=True, waiting_max=20
                            )
                            if self.busy
                            else None,
                            busy=self.busy,
                        )
                    )
                case ownership.LookUp():
                    one.reply.send(
                        ownership.ChatState(
                            sessions=(self.view(),),
                            current=self.bound,
                            bound=self.bound is not None,
                            owner=SESSION,
                            unbound=SESSION,
                            lease_epoch=1,
                        )
                    )
                case ownership.Bind(session_id=session_id):
                    self.bound = session_id
                    one.reply.send(ownership.Stored(done=True))
                case ownership.Expect():
                    one.reply.send(ownership.Stored(done=True))
                case ownership.RowReady(row_id=row_id):
                    self.ready.append(row_id)
                    self.dispatched.append(one.dispatched_to)

    async def stop_lanes(self) -> None:
        async for one in self.lanes_rx:
            if isinstance(one, lane.StopTurn):
                one.reply.send(lane.NothingRunning())

    async def run_agents(self) -> None:
        async for one in self.agents_rx:
            if isinstance(one, agents.StartAgent):
                self.started.append(one.agent)
                await trio.sleep(self.start_agent_s)
                one.reply.send(
                    agents.Started(
                        session_id=SessionId("agent-1"), agent=one.agent, alias="codex", cwd="/w"
                    )
                )

    async def call_platform(self) -> None:
        async with trio.open_nursery() as nursery:
            async for one in self.gateway_rx:
                if isinstance(one, gateway.Call):
                    nursery.start_soon(self._call, one)

    async def _call(self, call: gateway.Call) -> None:
        await trio.sleep(self.platform_s)
        outcome: Outcome = NoAnswer(reason="down")
        match call.operation:
            case gateway.GetBotInfo():
                outcome = BotInfo(open_id=OpenId("ou_bot"), name="bot")
            case gateway.AddReaction():
                if self.mark_comes_s:
                    call.reply.send(outcome)
                    await trio.sleep(self.mark_comes_s)
                self.marks.append("r")
                outcome = ReactionAdded(reaction_id="r")
            case gateway.ListReactions():
                outcome = ReactionsFound(reaction_ids=tuple(self.marks))
            case gateway.RemoveReaction():
                self.marks.remove(call.operation.reaction_id)
                outcome = Accepted()
            case gateway.ReplyMessage() if not self.platform_down:
                known = [one.uuid for one in self.calls]
                if call.operation.uuid not in known:
                    self.calls.append(call.operation)
                outcome = MessageSent(message_id=MessageId("om_answer"))
        call.reply.send(outcome)

    async def run_sync(
        self, function: Callable[[*ArgumentTs], ResultT], *args: *ArgumentTs
    ) -> ResultT:
        result = function(*args)
        await trio.sleep(self.commit_s)
        return result

    async def run_intake(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """One run of the intake, until it is cancelled."""
        run: Callable[..., Awaitable[None]] = intake_actor.run
        await run(
            intake_actor.IntakeSettings(
                account=ACCOUNT,
                policy=Policy(dm_policy="open", admins=frozenset({OpenId("ou_alice")})),
                language="en",
                session_reply_mode="verbose",
                agents=("codex",),
                attachments=self.attachments,
                mint_code=lambda: "ABCDEF",
            ),
            self.rx.clone(),
            intake_actor.Peers(
                account=ACCOUNT,
                intake_tx=self.tx,
                journal_tx=self.journal_tx,
                ownership_tx=self.ownership_tx,
                lanes_tx=self.lanes_tx,
                gateway_tx=self.gateway_tx,
                approvals_tx=self.approvals_tx,
                agents_tx=self.agents_tx,
            ),
            now_ms=self.now_ms,
            rng=random.Random(1),
            task_status=task_status,
        )


@asynccontextmanager
async def open_world(attachments: Path) -> AsyncIterator[World]:
    world = World(attachments)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: journal_actor.run(
                journal_actor.sqlite_store(None),
                world.journal_rx,
                run_sync=world.run_sync,
                task_status=task_status,
            )
        )
        for peer in (world.own, world.stop_lanes, world.run_agents, world.call_platform):
            nursery.start_soon(peer)
        yield world
        nursery.cancel_scope.cancel()


async def test_a_command_that_is_read_twice_acts_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        await nursery.start(world.run_intake)
        await trio.sleep(1)  # the bot is known: the start's own passes are over
        world.start_agent_s = 2.0
        await world.send("/new codex")
        await world.tx.send(intake.Recover())
        await trio.sleep(0.5)
        await world.tx.send(intake.Recover())
        await trio.sleep(10)
        assert world.started == ["codex"]
        assert len(world.answers()) == 1
        assert await world.received() == []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("comes_s", [0.0, 8.0, 60.0])
async def test_a_waiting_mark_goes_however_late_its_call_is_carried_out(
    autojump_clock: MockClock, tmp_path: Path, comes_s: float
) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        world.bound, world.busy, world.mark_comes_s = SESSION, True, comes_s
        await nursery.start(world.run_intake)
        await trio.sleep(1)
        await world.send("prompt")
        await trio.sleep(1)
        assert world.marks == ([] if comes_s else ["r"])
        await world.tx.send(intake.TurnBegan(message_id=MessageId("om_1")))
        await trio.sleep(80)
        assert world.marks == []
        nursery.cancel_scope.cancel()


async def test_what_is_taken_out_of_the_queue_is_taken_once_however_often_the_row_is_read(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        world.bound = SESSION
        await nursery.start(world.run_intake)
        await trio.sleep(1)
        for number in range(3):
            await world.send(f"prompt {number}")
        await world.tx.send(intake.Recover())
        await world.send("/queue drop 1")
        await world.tx.send(intake.Recover())
        await trio.sleep(5)
        assert world.answers() == ["Dropped from the queue: prompt 0"]
        nursery.cancel_scope.cancel()


async def test_an_answer_in_flight_when_everything_dies_is_sent_by_the_next_run(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_world(tmp_path) as world:
        world.platform_s = 3.0
        async with trio.open_nursery() as first_run:
            await first_run.start(world.run_intake)
            await world.send("/help")
            await world.send("/use api")
            await trio.sleep(1)  # carried out, and the platform has not answered
            first_run.cancel_scope.cancel()
        assert world.bound == SESSION
        assert world.answers() == []
        world.platform_s = 0.01
        async with trio.open_nursery() as second_run:
            await second_run.start(world.run_intake)
            await trio.sleep(5)
            second_run.cancel_scope.cancel()
        assert sorted(answer.split("\n")[0] for answer in world.answers()) == [
            "/sessions – the sessions you can talk to",
            "Switched to api (previous: none)",
        ]
        assert await world.received() == []


async def test_an_answer_waits_for_a_platform_that_is_down_for_long(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        await nursery.start(world.run_intake)
        world.platform_down = True
        await world.send("/help")
        await trio.sleep(300)
        world.platform_down = False
        await trio.sleep(120)
        assert len(world.answers()) == 1
        assert await world.received() == []
        nursery.cancel_scope.cancel()


async def test_a_prompt_after_a_command_follows_what_the_command_changed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        await nursery.start(world.run_intake)
        await trio.sleep(1)
        world.start_agent_s = 5.0
        await world.send("/new codex")
        await world.send("hello")
        status = await world.send("/sessions")
        await trio.sleep(1)
        assert world.ready == []
        assert status.row_id not in await world.received(), "a command has waited for /new"
        await trio.sleep(10)
        assert len(world.ready) == 1
        assert world.dispatched == [SessionId("agent-1")]
        nursery.cancel_scope.cancel()


async def test_the_start_serves_while_it_catches_up_and_the_backlog_goes_in_order(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_world(tmp_path) as world:
        for number in range(1_500):
            await world.append(f"old {number}", chat=f"oc_{number % 7}")
        world.commit_s = 0.5  # a page at a time, each of them slow
        async with trio.open_nursery() as nursery:
            with trio.fail_after(0.1):
                await nursery.start(world.run_intake)
            await trio.sleep(1)
            sent = [await world.send(f"new {number}") for number in range(3)]
            command = await world.send("/help")
            with trio.fail_after(5):
                while command.row_id in await world.received():
                    await trio.sleep(0.1)
            assert sent[0].row_id in await world.received(), "it has overtaken the backlog"
            await trio.sleep(600)
            assert await world.received() == []
            nursery.cancel_scope.cancel()
        order: dict[ChatId, list[RowId]] = {}
        waiting: Any = await ask(
            world.journal_tx,
            lambda reply: journal.Waiting(
                session_id=SESSION, takes_unbound=True, limit=10_000, reply=reply
            ),
            within_s=60,
        )
        for row in waiting:
            order.setdefault(row.prepared.chat_id, []).append(row.row_id)
        assert sum(map(len, order.values())) == 1_503
        assert all(rows == sorted(rows) for rows in order.values())


async def test_nothing_is_left_to_read_when_nothing_happens(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_world(tmp_path) as world, trio.open_nursery() as nursery:
        await nursery.start(world.run_intake)
        for number in range(20):
            await world.send(f"prompt {number}")
        await trio.sleep(5)
        with trio.fail_after(5):
            await wait_all_tasks_blocked()
        assert await world.received() == []
        nursery.cancel_scope.cancel()
