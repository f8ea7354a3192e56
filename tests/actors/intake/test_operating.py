"""What an operator asks of intake: for one who has gone, twice, and never answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors.kit.mailbox import ask
from actors.messages import intake
from protocol.ids import OpenId
from protocol.routing.access import Policy
from tests.actors.intake.world import World, open_world
from tests.kit.asking import gone_asker

pytestmark = pytest.mark.virtual_time

STRANGER = "ou_stranger"


@asynccontextmanager
async def open_intake(attachments: Path) -> AsyncIterator[World]:
    """Run an intake that lets strangers in by a code alone."""
    async with open_world(attachments) as world, trio.open_nursery() as nursery:
        world.policy = Policy(dm_policy="pairing", admins=frozenset({OpenId("ou_alice")}))
        await nursery.start(world.run_intake)
        yield world
        nursery.cancel_scope.cancel()


async def pairings(world: World) -> intake.Pairings:
    return await ask(world.tx, lambda reply: intake.ListPairings(reply=reply), within_s=5)


async def approve(world: World, code: str) -> str | None:
    result: intake.PairingResult = await ask(
        world.tx, lambda reply: intake.ApprovePairing(code=code, reply=reply), within_s=5
    )
    return result.text


async def revoke(world: World, subject: str) -> str | None:
    result: intake.PairingResult = await ask(
        world.tx, lambda reply: intake.RevokePairing(subject=subject, reply=reply), within_s=5
    )
    return result.text


async def show_code(world: World) -> str:
    """Let a stranger write; return the code they are shown."""
    await world.send("hello", sender=STRANGER)
    await trio.sleep(5)
    (request,) = (await pairings(world)).book.requests
    return request.code


async def test_an_operator_who_has_gone_changes_nothing(tmp_path: Path) -> None:
    """They were answered that the account is silent, and may have thought better of it."""
    async with open_intake(tmp_path) as world:
        code = await show_code(world)
        await world.tx.send(intake.ApprovePairing(code=code, reply=gone_asker()))
        assert [one.code for one in (await pairings(world)).book.requests] == [code]
        assert await approve(world, code) is not None
        await world.tx.send(intake.RevokePairing(subject=STRANGER, reply=gone_asker()))
        assert await revoke(world, STRANGER) == f"revoked {STRANGER}", "they were let in still"


async def test_what_an_operator_asks_twice_is_done_once(tmp_path: Path) -> None:
    async with open_intake(tmp_path) as world:
        code = await show_code(world)
        assert await approve(world, code) is not None
        assert await approve(world, code) is None
        assert await revoke(world, STRANGER) == f"revoked {STRANGER}"
        assert await revoke(world, STRANGER) is None


async def test_a_code_approved_as_its_operator_gives_up_counts_once(tmp_path: Path) -> None:
    """Begun is carried out: asked again, the code is used up, and its person is let in."""
    async with open_intake(tmp_path) as world:
        code = await show_code(world)
        world.commit_s = 6.0
        with pytest.raises(trio.TooSlowError):
            await approve(world, code)
        world.commit_s = 0.0
        await trio.sleep(10)
        assert await approve(world, code) is None
        assert await revoke(world, STRANGER) == f"revoked {STRANGER}"
