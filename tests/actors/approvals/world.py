"""The platform and the journal as the cards of requests meet them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from actors.approvals.peers import Peers
from actors.kit.cleanup import CleanupBudget
from actors.messages import approvals, gateway, intake, journal
from protocol.cards import approval
from protocol.cards.approval import Approval, Origin
from protocol.ids import AccountId, ChatId, MessageId, OpenId, SessionId
from protocol.platform.outcomes import Accepted, MessageSent, Outcome
from protocol.wire import messages as wire

ACCOUNT = AccountId("default")
MESSAGE = MessageId("om_card")


class World:
    """The platform and the journal as one card meets them."""

    def __init__(self) -> None:
        self.answers_after_s = 0.0
        self.calls: list[gateway.Operation] = []
        """As they left; the platform carries out each, also where nobody waits any more."""
        self.left: dict[str, journal.ApprovalLeft] = {}
        self.shown: dict[MessageId, str] = {}
        self.journal_fails = False
        self.dead = False
        """From then on nothing that the first process does has an effect."""
        self.gateway_tx, self._gateway_rx = trio.open_memory_channel[gateway.GatewayMessage](10)
        self.journal_tx, self._journal_rx = trio.open_memory_channel[journal.JournalMessage](10)
        own_tx, self.own_rx = trio.open_memory_channel[approvals.ApprovalsMessage](10)
        intake_tx, self.intake_rx = trio.open_memory_channel[intake.IntakeMessage](1)
        self.peers = Peers(
            gateways={ACCOUNT: self.gateway_tx},
            journal_tx=self.journal_tx,
            intakes=(intake_tx,),
            own_tx=own_tx,
            cleanup=CleanupBudget(5.0),
            random_bytes=bytes,
            now_ms=lambda: 0,
        )

    async def serve_gateway(self) -> None:
        async with trio.open_nursery() as calls:
            async for message in self._gateway_rx:
                assert isinstance(message, gateway.Call)
                if self.dead:
                    continue
                self.calls.append(message.operation)
                calls.start_soon(self._answer, message)

    async def _answer(self, call: gateway.Call) -> None:
        """The effect is in the middle of the call, so that it can be cut before and after."""
        await trio.sleep(self.answers_after_s / 2)
        outcome: Outcome = MessageSent(message_id=MESSAGE)
        match call.operation:
            case gateway.ReplyMessage(content_json=content):
                self.shown.setdefault(MESSAGE, content)  # the same uuid: the same message
            case gateway.PatchMessage(message_id=message_id, content_json=content):
                self.shown[message_id] = content
                outcome = Accepted()
        await trio.sleep(self.answers_after_s / 2)
        call.reply.send(outcome)

    async def serve_journal(self) -> None:
        async for message in self._journal_rx:
            if self.dead:
                continue
            match message:
                case journal.EnterApproval() | journal.ForgetApproval() if self.journal_fails:
                    message.reply.send(journal.Failed(reason="disk full"))
                case journal.EnterApproval(entry=entry):
                    self.left[entry.entry_id] = entry
                    message.reply.send(journal.Done())
                case journal.ForgetApproval(entry_id=entry_id):
                    self.left.pop(entry_id, None)
                    message.reply.send(journal.Done())
                case journal.ApprovalsLeft():
                    message.reply.send(tuple(self.left.values()))


REQUEST = wire.PermissionRequest(
    request_id="q",
    title="Run",
    detail="make",
    options=[wire.PermissionOption(id="a", label="Allow", kind="allow_once")],
)
PLACE = Origin(
    account=ACCOUNT,
    chat_id=ChatId("oc"),
    message_id=MessageId("om"),
    sender_id=OpenId("ou"),
    chat_type="p2p",
    lease_epoch=1,
)


def asked_under(key: str) -> Approval:
    return Approval(
        key=key,
        session_id=SessionId("s"),
        alias="api",
        place=PLACE,
        request=REQUEST,
        shown=approval.Shown(start="make"),
        expires_at_ms=3_600_000,
        of_admins=False,
    )


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[None]:
    async with trio.open_nursery() as services:
        services.start_soon(world.serve_gateway)
        services.start_soon(world.serve_journal)
        yield
        services.cancel_scope.cancel()
