"""The card of a request is brought to its end, wherever its actor is cut."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.approvals.card import ApprovalCard
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
OPENING, LAST = '{"buttons":1}', '{"buttons":0}'


class World:
    """The platform and the journal as one card meets them."""

    def __init__(self) -> None:
        self.answers_after_s = 0.0
        self.calls: list[gateway.Operation] = []
        """As they left; the platform carries out each, also where nobody waits any more."""
        self.left: list[journal.ApprovalLeft] = []
        self.gateway_tx, self._gateway_rx = trio.open_memory_channel[gateway.GatewayMessage](10)
        self.journal_tx, self._journal_rx = trio.open_memory_channel[journal.JournalMessage](10)
        own_tx, _ = trio.open_memory_channel[approvals.ApprovalsMessage](10)
        intake_tx, _ = trio.open_memory_channel[intake.IntakeMessage](1)
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
                self.calls.append(message.operation)
                calls.start_soon(self._answer, message)

    async def _answer(self, call: gateway.Call) -> None:
        await trio.sleep(self.answers_after_s)
        shown: Outcome = MessageSent(message_id=MESSAGE)
        call.reply.send(Accepted() if isinstance(call.operation, gateway.PatchMessage) else shown)

    async def serve_journal(self) -> None:
        async for message in self._journal_rx:
            match message:
                case journal.EnterApproval(entry=entry):
                    self.left.append(entry)
                    message.reply.send(journal.Done())
                case journal.ForgetApproval(message_id=message_id):
                    self.left = [one for one in self.left if one.message_id != message_id]
                    message.reply.send(journal.Done())


def card_of(world: World) -> ApprovalCard:
    request = wire.PermissionRequest(
        request_id="q",
        title="Run",
        detail="make",
        options=[wire.PermissionOption(id="a", label="Allow", kind="allow_once")],
    )
    place = Origin(
        account=ACCOUNT,
        chat_id=ChatId("oc"),
        message_id=MessageId("om"),
        sender_id=OpenId("ou"),
        chat_type="p2p",
        lease_epoch=1,
    )
    asked = Approval(
        key="k",
        session_id=SessionId("s"),
        alias="api",
        place=place,
        request=request,
        shown=approval.Shown(start="make"),
        expires_at_ms=3_600_000,
        of_admins=False,
    )
    return ApprovalCard(asked, OPENING, None, world.peers)


@pytest.mark.parametrize("cut_after_s", [0.0, 0.5, 1.0, 1.5, 2.5])
async def test_cut_at_any_moment_no_button_is_left(
    autojump_clock: MockClock, cut_after_s: float
) -> None:
    world = World()
    world.answers_after_s = 1.0
    card = card_of(world)
    async with trio.open_nursery() as services:
        services.start_soon(world.serve_gateway)
        services.start_soon(world.serve_journal)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(card.run, 3_600)
            await trio.sleep(cut_after_s)
            card.end(LAST)
            nursery.cancel_scope.cancel()
        services.cancel_scope.cancel()
    sends = [one for one in world.calls if isinstance(one, gateway.ReplyMessage)]
    assert len({(one.uuid, one.content_json) for one in sends}) <= 1, "one message, one key"
    ends = [one for one in world.calls if isinstance(one, gateway.PatchMessage)]
    assert [(one.message_id, one.content_json) for one in ends] == [(MESSAGE, LAST)] * bool(sends)
    assert world.left == []
