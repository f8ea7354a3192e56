"""Questions between actors: one answer, within a deadline, or a clear end."""

from __future__ import annotations

import msgspec
import pytest
import trio

from actors.kit.mailbox import ActorGone, Reply, ask, offer


class Question(msgspec.Struct, frozen=True, kw_only=True):
    reply: Reply[int]


async def test_the_answer_comes_back(nursery: trio.Nursery) -> None:
    tx, rx = trio.open_memory_channel[Question](1)

    async def actor() -> None:
        with (await rx.receive()).reply as reply:
            reply.send(42)

    nursery.start_soon(actor)
    assert await ask(tx, lambda reply: Question(reply=reply), within_s=1) == 42


async def test_a_handler_that_crashes_is_an_answer(autojump_clock: trio.abc.Clock) -> None:
    tx, rx = trio.open_memory_channel[Question](1)

    async def actor() -> None:
        with pytest.raises(ZeroDivisionError), (await rx.receive()).reply:
            raise ZeroDivisionError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor)
        with pytest.raises(ActorGone):
            await ask(tx, lambda reply: Question(reply=reply), within_s=60)
    assert trio.current_time() < 60


async def test_silence_ends_at_the_deadline(autojump_clock: trio.abc.Clock) -> None:
    tx, rx = trio.open_memory_channel[Question](1)
    started = trio.current_time()
    with rx, pytest.raises(trio.TooSlowError):
        await ask(tx, lambda reply: Question(reply=reply), within_s=5)
    assert trio.current_time() - started == pytest.approx(5)


async def test_a_mailbox_nobody_reads_is_gone() -> None:
    tx, rx = trio.open_memory_channel[Question](1)
    rx.close()
    with pytest.raises(ActorGone):
        await ask(tx, lambda reply: Question(reply=reply), within_s=1)


async def test_answering_an_asker_that_gave_up_is_no_error() -> None:
    tx, rx = trio.open_memory_channel[int](1)
    rx.close()
    Reply(tx).send(1)


async def test_an_offer_never_waits() -> None:
    tx, rx = trio.open_memory_channel[int](1)
    assert offer(tx, 1)
    assert not offer(tx, 2)
    rx.close()
    assert not offer(tx, 3)
