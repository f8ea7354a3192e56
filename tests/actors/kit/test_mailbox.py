"""Questions between actors: one answer, within a deadline, or a clear end."""

from __future__ import annotations

import msgspec
import pytest
import trio
import trio.testing

from actors.kit.mailbox import ActorGone, Answer, Reply, ask, offer, put


class Question(msgspec.Struct, frozen=True, kw_only=True):
    reply: Reply[int]


async def test_the_answer_comes_back(nursery: trio.Nursery) -> None:
    tx, rx = trio.open_memory_channel[Question](1)

    async def actor() -> None:
        with (await rx.receive()).reply as reply:
            reply.send(42)

    nursery.start_soon(actor)
    assert await ask(tx, lambda reply: Question(reply=reply), within_s=60) == 42


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
        await ask(tx, lambda reply: Question(reply=reply), within_s=60)


async def test_answering_an_asker_that_gave_up_is_no_error() -> None:
    answer: Answer[int] = Answer()
    answer.close()
    assert not Reply(answer).send(1)


async def test_an_offer_never_waits() -> None:
    tx, rx = trio.open_memory_channel[int](1)
    assert offer(tx, 1)
    assert not offer(tx, 2)
    rx.close()
    assert not offer(tx, 3)


async def test_the_first_answer_stands() -> None:
    answer: Answer[int] = Answer()
    assert Reply(answer).send(1)
    assert not Reply(answer).send(2)
    Reply(answer).close()
    assert await answer.receive() == 1


async def test_an_answer_of_the_step_in_which_time_is_up_is_taken(
    autojump_clock: trio.abc.Clock,
) -> None:
    tx, rx = trio.open_memory_channel[Question](1)
    taken: list[bool] = []

    async def actor() -> None:
        question = await rx.receive()
        await trio.sleep(5)
        taken.append(question.reply.send(42))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor)
        try:
            await ask(tx, lambda reply: Question(reply=reply), within_s=5)
            answered = True
        except trio.TooSlowError:
            answered = False
    assert taken == [answered], "who answered counts it as taken, or not, as the asker does"


async def test_an_asker_that_is_cancelled_can_ask_again(autojump_clock: trio.abc.Clock) -> None:
    answer: Answer[int] = Answer()
    with trio.move_on_after(1):
        await answer.receive()
    Reply(answer).send(3)
    assert await answer.receive() == 3


async def test_what_is_put_waits_for_capacity_in_order(autojump_clock: trio.abc.Clock) -> None:
    tx, rx = trio.open_memory_channel[int](1)
    async with trio.open_nursery() as nursery:
        await put(tx, 1)
        nursery.start_soon(put, tx, 2)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(put, tx, 3)
        await trio.testing.wait_all_tasks_blocked()
        assert [await rx.receive() for _ in range(3)] == [1, 2, 3]
