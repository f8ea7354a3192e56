"""A press that comes late, twice or for nobody, and requests of connections that are gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.approvals.actor import SECRET_BYTES, run
from actors.kit.mailbox import Reply, ask
from actors.messages import approvals, intake, link
from protocol.cards import approval
from protocol.cards.approval import ApprovalPress
from protocol.ids import ChatId, ConnectionId, OpenId, SessionId, TurnId
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
from tests.kit.asking import gone_asker

pytestmark = pytest.mark.virtual_time

POLICY = Policy(allow_from=frozenset({OpenId("ou")}))
KEY = bytes(12).hex()
ALLOWED = wire.PermissionVerdict(request_id="q", outcome="selected", option_id="a", by=OpenId("ou"))


class Asked:
    """One open request."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tx = world.peers.own_tx
        self.link_tx, self.verdicts = trio.open_memory_channel[link.LinkMessage](10)

    def ask(self, turn_id: str = "turn_1") -> approvals.Ask:
        return approvals.Ask(
            connection_id=ConnectionId(1),
            session_id=SessionId("s"),
            alias="api",
            turn_id=TurnId(turn_id),
            account=ACCOUNT,
            place=PLACE,
            request=REQUEST,
            shown=approval.Shown(start="make"),
            file=None,
            link=self.link_tx,
        )

    def pressed(self, reply: Reply[intake.Toast]) -> approvals.Pressed:
        """Return a press on Allow, as the button that was sent has it."""
        press = ApprovalPress(
            key=KEY,
            option_id="a",
            signature=approval.signature(asked_under(KEY), "a", bytes(SECRET_BYTES)),
            by=OpenId("ou"),
            chat_id=ChatId("oc"),
        )
        return approvals.Pressed(press=press, policy=POLICY, reply=reply)

    async def press(self) -> str:
        """Press Allow; return the toast."""
        toast: intake.Toast = await ask(self.tx, self.pressed, within_s=5)
        return toast.en

    def last_verdicts(self) -> list[link.LinkMessage]:
        return [
            self.verdicts.receive_nowait()
            for _ in range(self.verdicts.statistics().current_buffer_used)
        ]

    async def shown(self) -> str:
        await trio.sleep(1)
        return self.world.shown[MESSAGE]


@asynccontextmanager
async def asked_once() -> AsyncIterator[Asked]:
    world = World()
    asked = Asked(world)
    async with serving(world), trio.open_nursery() as nursery:
        await nursery.start(run, world.peers, world.own_rx)
        await asked.tx.send(approvals.AccessIs(account=ACCOUNT, policy=POLICY))
        await asked.tx.send(asked.ask())
        await trio.sleep(1)
        yield asked
        nursery.cancel_scope.cancel()


async def test_the_gate_is_asked_for_until_an_intake_that_is_full_takes_it() -> None:
    """Without it every request would be a stranger's, until the next change of the gate."""
    world = World()
    (intake_tx,) = world.peers.intakes
    intake_tx.send_nowait(intake.Recover())
    async with serving(world), trio.open_nursery() as nursery:
        await nursery.start(run, world.peers, world.own_rx)
        await wait_all_tasks_blocked()
        taken = [await world.intake_rx.receive(), await world.intake_rx.receive()]
        assert [type(one) for one in taken] == [intake.Recover, intake.ReportAccess]
        nursery.cancel_scope.cancel()


async def test_a_press_whose_asker_has_gone_is_not_taken() -> None:
    """Its person was answered that it was too late: the request stays for another press."""
    async with asked_once() as asked:
        await asked.tx.send(asked.pressed(gone_asker()))
        await wait_all_tasks_blocked()
        assert asked.last_verdicts() == []
        assert await asked.press() == on_card.TOAST_ALLOWED.en
        assert asked.last_verdicts() == [ALLOWED]


async def test_the_first_of_two_presses_counts() -> None:
    async with asked_once() as asked:
        assert await asked.press() == on_card.TOAST_ALLOWED.en
        assert await asked.press() == on_card.TOAST_TOO_LATE.en
        assert asked.last_verdicts() == [ALLOWED]


async def test_a_request_that_arrives_twice_is_asked_once() -> None:
    async with asked_once() as asked:
        await asked.tx.send(asked.ask())
        await trio.sleep(1)
        assert len(asked.world.calls) == 1
        await asked.press()
        assert asked.last_verdicts() == [ALLOWED]


async def test_links_that_start_again_leave_no_request_of_before() -> None:
    """What ended their connections was lost with them: no press is taken for nobody."""
    async with asked_once() as asked:
        await asked.tx.send(approvals.AllConnectionsOver())
        assert on_card.APPROVAL_STOPPED.en in await asked.shown()
        assert await asked.press() == on_card.TOAST_TOO_LATE.en
        assert asked.last_verdicts() == []


async def test_who_waits_for_a_verdict_is_answered_where_the_approvals_end() -> None:
    """A crash of theirs closes every card: nobody could decide any more."""
    async with asked_once() as asked:
        pass
    (verdict,) = asked.last_verdicts()
    assert verdict == wire.PermissionVerdict(request_id="q", outcome="cancelled")
    assert '"button"' not in asked.world.shown[MESSAGE]
