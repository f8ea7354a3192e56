"""A reply that was sent stays sent, whatever becomes of what follows it."""

from __future__ import annotations

import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from actors.messages import gateway, journal, ownership
from actors.messages.outbound import Caller
from actors.outbound.peers import Peers
from actors.outbound.reply import reply
from protocol.ids import AccountId, ChatId, MessageId, SessionId
from protocol.platform.outcomes import MessageSent

ACCOUNT = AccountId("default")


class World:
    """What a reply sends to; the journal answers what comes before the sending only."""

    def __init__(self) -> None:
        self.journal_tx, self.journal_rx = trio.open_memory_channel[journal.JournalMessage](8)
        self.gateway_tx, self.gateway_rx = trio.open_memory_channel[gateway.GatewayMessage](8)
        self.ownership_tx, _ = trio.open_memory_channel[ownership.OwnershipMessage](8)
        self.sent: list[str] = []

    def peers(self) -> Peers:
        return Peers(
            gateways={ACCOUNT: self.gateway_tx},
            journal_tx=self.journal_tx,
            ownership_tx=self.ownership_tx,
            policies={},
            private=tuple,
            secrets=(),
            random_bytes=bytes,
            now_ms=lambda: 0,
        )

    async def store(self) -> None:
        async for message in self.journal_rx:
            if isinstance(message, journal.Correspondent):
                message.reply.send(journal.Correspondence(account=ACCOUNT, given=True))

    async def call_platform(self) -> None:
        async for message in self.gateway_rx:
            assert isinstance(message, gateway.Call)
            assert isinstance(message.operation, gateway.CreateMessage)
            self.sent.append(message.operation.uuid)
            message.reply.send(MessageSent(message_id=MessageId("om_1")))


async def test_a_journal_that_is_late_after_the_sending_fails_no_reply(
    autojump_clock: MockClock,
) -> None:
    world = World()
    caller = Caller(session_id=SessionId("s"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.store)
        nursery.start_soon(world.call_platform)
        with capture_logs() as logged:
            answer = await reply(world.peers(), caller, {"chat_id": ChatId("oc_1"), "text": "hi"})
        nursery.cancel_scope.cancel()
    assert answer == "Sent to oc_1 as om_1."
    assert len(world.sent) == 1
    assert [one["event"] for one in logged] == ["message.not_noted", "rows.not_closed"]
