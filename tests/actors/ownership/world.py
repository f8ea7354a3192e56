"""Ownership and the real journal in one process, and what tests ask of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, TypeVarTuple

import trio

from actors import journal as journal_actor
from actors import ownership as ownership_actor
from actors.kit.mailbox import Reply, ask
from actors.messages import journal, lane, link, ownership
from protocol.ids import (
    AccountId,
    ChatId,
    ConnectionId,
    EventId,
    MessageId,
    OpenId,
    PlaceKey,
    SessionId,
)
from protocol.routing.delivery import Offer, Prompt
from protocol.routing.lease import LeaseState
from protocol.routing.roster import Roster
from protocol.wire.vocabulary import Role

ArgumentTs = TypeVarTuple("ArgumentTs")
ResultT = TypeVar("ResultT")
ACCOUNT = AccountId("default")
CHAT = ChatId("oc_1")
A, B = SessionId("a"), SessionId("b")


class SlowDisk:
    """Runs the journal in the loop; *commit_s* is how long a commit takes."""

    def __init__(self) -> None:
        self.commit_s = 0.0

    async def __call__(
        self, function: Callable[[*ArgumentTs], ResultT], *args: *ArgumentTs
    ) -> ResultT:
        result = function(*args)
        await trio.sleep(self.commit_s)
        return result


class World:
    def __init__(self) -> None:
        self.disk = SlowDisk()
        self.journal_tx, self.journal_rx = trio.open_memory_channel[journal.JournalMessage](1024)
        self.tx, self.rx = trio.open_memory_channel[ownership.OwnershipMessage](256)
        self.lanes_tx, self.lanes_rx = trio.open_memory_channel[lane.LaneMessage](1024)
        self.notices: list[lane.LaneMessage] = []
        self.links: dict[int, trio.MemoryReceiveChannel[link.LinkMessage]] = {}
        """What each connection's link is sent."""
        self.numbers = iter(range(1, 10_000))

    async def read_notices(self) -> None:
        async for message in self.lanes_rx:
            self.notices.append(message)

    def woken(self) -> list[SessionId]:
        return [one.session_id for one in self.notices if isinstance(one, lane.Wake)]

    async def register(
        self,
        session_id: SessionId,
        connection: int,
        role: Role = "session",
        within_s: float = 60.0,
        capabilities: frozenset[str] = frozenset({"turns"}),
    ) -> ownership.Admitted | ownership.NotAdmitted:
        link_tx, self.links[connection] = trio.open_memory_channel[link.LinkMessage](256)

        def build(
            reply: Reply[ownership.Admitted | ownership.NotAdmitted],
        ) -> ownership.RegisterSession:
            return ownership.RegisterSession(
                connection_id=ConnectionId(connection),
                session_id=session_id,
                role=role,
                proven_by=role,
                pid=1,
                proxy_version="0",
                metadata={},
                capabilities=capabilities,
                link=link_tx,
                reply=reply,
            )

        return await ask(self.tx, build, within_s=within_s)

    async def bind(self, place: PlaceKey, session_id: SessionId | None) -> bool:
        stored: ownership.Stored = await ask(
            self.tx,
            lambda reply: ownership.Bind(place=place, session_id=session_id, reply=reply),
            within_s=10,
        )
        return stored.done

    async def next(
        self, session_id: SessionId, connection: int, within_s: float = 60.0
    ) -> Offer | None:
        rows = await self.next_rows(session_id, connection, within_s)
        assert len(rows) < 2
        return rows[0] if rows else None

    async def next_rows(
        self, session_id: SessionId, connection: int, within_s: float = 60.0
    ) -> tuple[Offer, ...]:
        def build(reply: Reply[tuple[Offer, ...]]) -> ownership.Next:
            return ownership.Next(
                session_id=session_id, connection_id=ConnectionId(connection), reply=reply
            )

        return await ask(self.tx, build, within_s=within_s)

    async def offered(self, session_id: SessionId, connection: int, within_s: float = 5.0) -> Offer:
        """Take the next row, which is there."""
        row = await self.next(session_id, connection, within_s)
        assert row is not None, f"nothing waits for {session_id}"
        return row

    async def call(self, connection: int, name: str, **args: Any) -> Any:
        answer: ownership.ToolAnswer = await ask(
            self.tx,
            lambda reply: ownership.CallTool(
                connection_id=ConnectionId(connection), name=name, args=args, reply=reply
            ),
            within_s=30,
        )
        return answer.result if isinstance(answer, ownership.ToolDone) else answer.error

    async def row(self, chat_id: ChatId = CHAT, account: AccountId = ACCOUNT) -> None:
        """Bring one message of a chat to ``ready``."""
        number = next(self.numbers)
        appended: journal.Appended | journal.Failed = await ask(
            self.journal_tx,
            lambda reply: journal.Append(
                account=account,
                event_id=EventId(f"e{number}"),
                message_key=f"om_{number}",
                kind="message",
                payload=b"{}",
                received_at_ms=number,
                reply=reply,
            ),
            within_s=60,
        )
        assert isinstance(appended, journal.Appended)
        prompt = Prompt(
            kind="message",
            chat_id=chat_id,
            message_id=MessageId(f"om_{number}"),
            sender_id=OpenId("ou_1"),
            chat_type="p2p",
            content=f"prompt {number}",
        )
        await ask(
            self.journal_tx,
            lambda reply: journal.Prepare(
                rows=(journal.PreparedRow(row_id=appended.row_id, prompt=prompt),), reply=reply
            ),
            within_s=60,
        )

    async def roster(self) -> Roster | journal.Failed:
        return await ask(
            self.journal_tx, lambda reply: journal.LoadRoster(reply=reply), within_s=60
        )

    async def stored_lease(self) -> LeaseState | journal.Failed:
        return await ask(self.journal_tx, lambda reply: journal.LoadLease(reply=reply), within_s=60)


@asynccontextmanager
async def open_world(*sessions: SessionId) -> AsyncIterator[World]:
    """Open a world with these sessions on connections 1, 2 …, the first as dispatcher."""
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: journal_actor.run(
                journal_actor.sqlite_store(None),
                world.journal_rx,
                run_sync=world.disk,
                task_status=task_status,
            )
        )
        nursery.start_soon(world.read_notices)
        run: Callable[..., Awaitable[None]] = ownership_actor.run
        await nursery.start(
            lambda task_status: run(
                ownership_actor.OwnershipSettings(
                    daemon_version="0", generation=1, started_at_ms=0
                ),
                world.rx,
                world.journal_tx,
                world.lanes_tx,
                now_ms=lambda: int(trio.current_time() * 1000),
                task_status=task_status,
            )
        )
        for connection, session_id in enumerate(sessions, start=1):
            role: Role = "dispatcher" if connection == 1 else "session"
            await world.register(session_id, connection, role)
        yield world
        nursery.cancel_scope.cancel()
