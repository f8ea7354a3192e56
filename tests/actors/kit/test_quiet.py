"""A mailbox whose reader sleeps through what can wait."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.kit.quiet import QuietReceiver, QuietSender, open_quiet_channel


def weight(message: str) -> int | None:
    """What is in capitals can't wait."""
    return None if message.isupper() else len(message)


def channel(size: int = 8) -> tuple[QuietSender[str], QuietReceiver[str]]:
    return open_quiet_channel(size, weigh=weight, weight_max=5)


class Reader:
    """Notes what each time it woke was there."""

    def __init__(self, receiver: QuietReceiver[str]) -> None:
        self.receiver = receiver
        self.read: list[list[str]] = []
        self.over = False

    async def run(self) -> None:
        while True:
            await self.receiver.wait()
            self.read.append([])
            try:
                while (message := self.receiver.taken()) is not None:
                    self.read[-1].append(message)
            except trio.EndOfChannel:
                self.over = True
                return


async def test_an_awake_reader_is_woken_by_everything() -> None:
    sender, receiver = channel()
    reader = Reader(receiver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        for message in ("a", "B"):
            await sender.send(message)
            await wait_all_tasks_blocked()
        assert reader.read == [["a"], ["B"]]
        sender.close()
    assert reader.over


async def test_what_can_wait_lies_there_until_something_comes_that_can_not() -> None:
    sender, receiver = channel()
    receiver.sleep()
    reader = Reader(receiver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        for message in ("a", "b"):
            await sender.send(message)
        await wait_all_tasks_blocked()
        assert (reader.read, receiver.rung) == ([], False)
        await sender.send("C")
        assert receiver.rung
        await wait_all_tasks_blocked()
        assert reader.read == [["a", "b", "C"]]
        nursery.cancel_scope.cancel()


async def test_so_much_of_what_can_wait_is_taken() -> None:
    sender, receiver = channel()
    receiver.sleep()
    reader = Reader(receiver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        for _ in range(2):  # weighed anew after it was taken
            await sender.send("abcde")
            await wait_all_tasks_blocked()
            await sender.send("f")
            await wait_all_tasks_blocked()
        assert reader.read == [["abcde", "f"], ["abcde", "f"]]
        nursery.cancel_scope.cancel()


async def test_a_full_mailbox_is_read() -> None:
    sender, receiver = channel(2)
    receiver.sleep()
    reader = Reader(receiver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        with trio.fail_after(30):
            for message in ("a", "b", "c"):
                await sender.send(message)
        await wait_all_tasks_blocked()
        assert [one for read in reader.read for one in read] == ["a", "b", "c"]
        nursery.cancel_scope.cancel()


async def test_who_wakes_up_finds_what_lies_there_and_is_not_woken_by_nothing() -> None:
    sender, receiver = channel()
    receiver.sleep()
    reader = Reader(receiver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        receiver.wake()
        await wait_all_tasks_blocked()
        assert reader.read == []
        receiver.sleep()
        await sender.send("a")
        receiver.wake()
        await wait_all_tasks_blocked()
        assert reader.read == [["a"]]
        nursery.cancel_scope.cancel()


async def test_the_end_wakes_the_reader_when_the_last_sender_has_closed() -> None:
    sender, receiver = channel()
    receiver.sleep()
    reader = Reader(receiver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        with sender.clone() as other:
            await other.send("a")
        await wait_all_tasks_blocked()
        assert (reader.read, reader.over) == ([["a"]], False)
        sender.close()
    assert reader.over


async def test_it_can_be_read_as_a_memory_channel_and_ends_with_its_last_reader() -> None:
    sender, receiver = channel()
    with receiver, receiver.clone() as other:
        await sender.send("a")
        await sender.send("b")
        assert await other.receive() == "a"
        assert await receiver.receive() == "b"
        sender.close()
        assert [message async for message in receiver] == []
    sender, receiver = channel()
    receiver.close()
    with pytest.raises(trio.BrokenResourceError):
        await sender.send("a")
