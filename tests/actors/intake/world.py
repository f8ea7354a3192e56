"""The intake with the real journal, and its peers as far as it asks them; in virtual time."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import trio

from actors import intake as intake_actor
from actors import journal as journal_actor
from actors.kit.mailbox import ask
from actors.messages import agents, approvals, gateway, intake, journal, lane, ownership
from protocol.ids import (
    AccountId,
    ConnectionId,
    EventId,
    MessageId,
    OpenId,
    RowId,
    SessionId,
)
from protocol.platform.outcomes import (
    Accepted,
    BotInfo,
    Downloaded,
    MessageSent,
    NoAnswer,
    Outcome,
    ReactionAdded,
    ReactionsFound,
)
from protocol.routing.access import Policy
from protocol.routing.delivery import EventKind, Offer, StoredEvent
from protocol.routing.roster import KnownSession, SessionView
from tests.kit.scripted_platform import event

ACCOUNT = AccountId("default")
SECOND = AccountId("second")
"""Another account of the same daemon, whose intake a test may run too."""
PICTURE = "<image>"
SESSION = SessionId("s")
ArgumentTs = TypeVarTuple("ArgumentTs")
ResultT = TypeVar("ResultT")


def message(number: int, text: str, chat: str = "oc_1", sender: str = "ou_alice") -> bytes:
    """Return a text, or a picture: ``<image>``. In a group, ``oc_group…``, the bot is mentioned."""
    is_group = chat.startswith("oc_group")
    is_picture = text == PICTURE
    content = {"image_key": f"img_{number}"} if is_picture else {"text": text}
    body = {
        "sender": {"sender_id": {"open_id": sender}, "sender_type": "user"},
        "message": {
            "message_id": f"om_{number}",
            "chat_id": chat,
            "chat_type": "group" if is_group else "p2p",
            "mentions": [{"key": "@_user_1", "id": {"open_id": "ou_bot"}, "name": "bot"}]
            if is_group
            else [],
            "message_type": "image" if is_picture else "text",
            "content": json.dumps(content),
        },
    }
    return event("im.message.receive_v1", body, event_id=f"evt-{number}")


class World:
    """A journal that outlives the intake, and the intake's peers."""

    def __init__(self, attachments: Path) -> None:
        self.attachments = attachments
        self.journal_tx, self.journal_rx = trio.open_memory_channel[journal.JournalMessage](1024)
        self.tx, self.rx = trio.open_memory_channel[intake.IntakeMessage](1024)
        self.second_tx, self.second_rx = trio.open_memory_channel[intake.IntakeMessage](1024)
        self.ownership_tx, self.ownership_rx = trio.open_memory_channel[ownership.OwnershipMessage](
            256
        )
        self.lanes_tx, self.lanes_rx = trio.open_memory_channel[lane.LaneMessage](256)
        self.gateway_tx, self.gateway_rx = trio.open_memory_channel[gateway.GatewayMessage](256)
        self.approvals_tx, _ = trio.open_memory_channel[approvals.ApprovalsMessage](8)
        self.agents_tx, self.agents_rx = trio.open_memory_channel[agents.AgentsMessage](8)
        self.numbers = 0
        self.policy = Policy(
            dm_policy="open", group_policy="open", admins=frozenset({OpenId("ou_alice")})
        )
        self.bound: SessionId | None = None
        self.ready: list[RowId] = []
        self.dispatched: list[SessionId | None] = []
        self.bound_as_ready: list[SessionId | None] = []
        """Where the chat was when each row became ready."""
        self.started: list[str] = []
        self.start_agent_s = 0.0
        self.calls: list[gateway.ReplyMessage] = []
        self.platform_down = False
        self.platform_s = 0.01
        self.commit_s = 0.0
        self.takes_turns = False
        """Whether the session runs turns, one by one."""
        self.busy = False
        """Whether it has a turn in flight."""
        self.waiting_max = 20
        self.download_s = 0.01
        self.recalled: list[MessageId] = []
        """Messages whose turn was to stop."""
        self.marks: list[str] = []
        """The waiting marks on messages."""
        self.mark_comes_s = 0.0
        """How long after its call went unanswered a mark is there; 0: it is answered."""

    # ── what happens to it ──────────────────────────────────────────────────

    async def append(
        self,
        text: str,
        chat: str = "oc_1",
        sender: str = "ou_alice",
        *,
        recalls: int | None = None,
        account: AccountId = ACCOUNT,
    ) -> StoredEvent:
        """Commit a message, as the connection does, and do not forward it."""
        self.numbers += 1
        payload = message(self.numbers, text, chat, sender)
        kind: EventKind = "message"
        if recalls is not None:
            kind = "recalled"
            body = {"message_id": f"om_{recalls}", "chat_id": chat}
            payload = event("im.message.recalled_v1", body, event_id=f"evt-{self.numbers}")
        appended: journal.Appended | journal.Failed = await ask(
            self.journal_tx,
            lambda reply: journal.Append(
                account=account,
                event_id=EventId(f"evt-{self.numbers}"),
                message_key=f"om_{self.numbers}" if recalls is None else None,
                kind=kind,
                payload=payload,
                received_at_ms=self.now_ms(),
                reply=reply,
            ),
            within_s=60,
        )
        assert isinstance(appended, journal.Appended)
        return StoredEvent(
            row_id=appended.row_id,
            account=account,
            event_id=EventId(f"evt-{self.numbers}"),
            kind=kind,
            payload=payload,
            received_at_ms=self.now_ms(),
        )

    async def recall(self, number: int) -> None:
        """Take the message back that was sent as the *number*th."""
        stored = await self.append("", recalls=number)
        await self.tx.send(stored)

    async def send(self, text: str, chat: str = "oc_1", sender: str = "ou_alice") -> StoredEvent:
        stored = await self.append(text, chat, sender)
        await self.tx.send(stored)
        return stored

    @staticmethod
    def now_ms() -> int:
        return int(trio.current_time() * 1000)

    # ── what it did ─────────────────────────────────────────────────────────

    def answers(self) -> list[str]:
        return [json.loads(one.content_json)["text"] for one in self.calls]

    async def received(self) -> list[RowId]:
        """Return the rows that are still ``received``."""
        found: tuple[StoredEvent, ...] | journal.Failed = await ask(
            self.journal_tx,
            lambda reply: journal.Unprepared(
                account=ACCOUNT, after_row=RowId(0), limit=10_000, reply=reply
            ),
            within_s=60,
        )
        assert not isinstance(found, journal.Failed)
        return [one.row_id for one in found]

    async def next_prompt(self, session: SessionId = SESSION) -> Offer | None:
        """Take the next prompt as a session that runs turns does."""
        found: tuple[Offer, ...] | journal.Failed = await ask(
            self.journal_tx,
            lambda reply: journal.OfferNext(
                session_id=session,
                takes_unbound=session == SESSION,
                connection_id=ConnectionId(1),
                lease_epoch=1,
                at_ms=self.now_ms(),
                reply=reply,
            ),
            within_s=60,
        )
        assert not isinstance(found, journal.Failed)
        return found[0] if found else None

    async def prompts(self) -> list[tuple[str, ...]]:
        """Take all there are; return the messages of each."""
        found: list[tuple[str, ...]] = []
        while (offer := await self.next_prompt()) is not None:
            found.append(offer.prompt.message_ids)
        return found

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
                                session_id=SESSION,
                                takes_unbound=True,
                                waiting_max=self.waiting_max,
                            )
                            if self.takes_turns or self.busy
                            else None,
                            busy=self.busy,
                        )
                    )
                case ownership.FindRunning():
                    one.reply.send(None)
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
                    self.bound_as_ready.append(self.bound)

    async def stop_lanes(self) -> None:
        async for one in self.lanes_rx:
            match one:
                case lane.StopTurn():
                    one.reply.send(lane.NothingRunning())
                case lane.FindOwnTurns():
                    one.reply.send(())
                case lane.StopRecalled(message_id=message_id):
                    self.recalled.append(message_id)

    async def run_agents(self) -> None:
        async with trio.open_nursery() as nursery:
            async for one in self.agents_rx:
                match one:
                    case agents.StartAgent():
                        nursery.start_soon(self._start_agent, one)
                    case agents.FindProgress():
                        one.reply.send("fetching codex")

    async def _start_agent(self, wish: agents.StartAgent) -> None:
        self.started.append(wish.agent)
        await trio.sleep(self.start_agent_s)
        wish.reply.send(
            agents.Started(
                session_id=SessionId("agent-1"), agent=wish.agent, alias="codex", cwd="/w"
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
            case gateway.DownloadResource():
                await trio.sleep(self.download_s)
                outcome = Downloaded(size=1)
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
        self,
        account: AccountId = ACCOUNT,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """One run of the intake of *account*, until it is cancelled."""
        intakes = {ACCOUNT: self.tx, SECOND: self.second_tx}
        inbox = self.rx if account == ACCOUNT else self.second_rx
        run: Callable[..., Awaitable[None]] = intake_actor.run
        await run(
            intake_actor.IntakeSettings(
                account=account,
                policy=self.policy,
                language="en",
                session_reply_mode="verbose",
                agents=("codex",),
                attachments=self.attachments,
                mint_code=lambda: "ABCDEF",
            ),
            inbox.clone(),
            intake_actor.Peers(
                account=account,
                intake_tx=intakes[account],
                intakes=intakes,
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


@asynccontextmanager
async def open_intake(attachments: Path) -> AsyncIterator[World]:
    """A world in which the intake runs."""
    async with open_world(attachments) as world, trio.open_nursery() as nursery:
        await nursery.start(world.run_intake)
        yield world
        nursery.cancel_scope.cancel()
