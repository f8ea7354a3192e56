"""A mailbox whose reader sleeps on while what comes can wait.

A memory channel wakes its reader for every message, which is a turn of the loop each. Here
the sender weighs what it sends: what can wait only lies there, until the reader looks by
itself, something comes that can't, or so much lies there that it is to be taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Generic, Self, TypeVar

import trio

MessageT = TypeVar("MessageT")

Weigh = Callable[[MessageT], int | None]
"""How much of what may wait a message is; None: it can't wait."""


class _Alarm:
    """What sender and reader share beside the channel."""

    __slots__ = ("awake", "rung", "weight")

    def __init__(self) -> None:
        self.rung = trio.Event()
        self.awake = True
        """Whether the reader takes everything at once."""
        self.weight = 0


class QuietSender(Generic[MessageT]):
    """The sending end; one clone per sender, as with a memory channel."""

    __slots__ = ("_alarm", "_channel", "_weigh", "_weight_max")

    def __init__(
        self,
        channel: trio.MemorySendChannel[MessageT],
        alarm: _Alarm,
        weigh: Weigh[MessageT],
        weight_max: int,
    ) -> None:
        self._channel = channel
        self._alarm = alarm
        self._weigh = weigh
        self._weight_max = weight_max

    async def send(self, message: MessageT) -> None:
        """Send; wait for capacity only. Where there is some this is no checkpoint.

        Raises:
            trio.BrokenResourceError: nobody reads any more.
            trio.ClosedResourceError: this end is closed.
        """
        alarm = self._alarm
        try:
            self._channel.send_nowait(message)
        except trio.WouldBlock:
            alarm.rung.set()
            await self._channel.send(message)
        weight = self._weigh(message)
        if weight is not None:
            alarm.weight += weight
        if weight is None or alarm.awake or alarm.weight > self._weight_max:
            alarm.rung.set()

    def clone(self) -> QuietSender[MessageT]:
        return QuietSender(self._channel.clone(), self._alarm, self._weigh, self._weight_max)

    def close(self) -> None:
        """Send nothing more; the reader is woken, for this may have been the last sender."""
        self._channel.close()
        self._alarm.rung.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class QuietReceiver(Generic[MessageT]):
    """The reading end; closed when its last clone is."""

    __slots__ = ("_alarm", "_channel")

    def __init__(self, channel: trio.MemoryReceiveChannel[MessageT], alarm: _Alarm) -> None:
        self._channel = channel
        self._alarm = alarm

    @property
    def rung(self) -> bool:
        """Whether something is there that can't wait."""
        return self._alarm.rung.is_set()

    def sleep(self) -> None:
        """Let what can wait lie: whoever reads looks by itself."""
        self._alarm.awake = False

    def wake(self) -> None:
        """Be woken by everything from now on, and by what lies there."""
        self._alarm.awake = True
        if self._alarm.weight:
            self._alarm.rung.set()

    async def wait(self) -> None:
        """Wait until something is to be read, or nothing more will come.

        One reader waits. What comes after this returned rings anew, so that it reads all
        there is and waits again.
        """
        await self._alarm.rung.wait()
        self._alarm.rung = trio.Event()

    def taken(self) -> MessageT | None:
        """Return the next message without waiting; None: there is none now.

        Raises:
            trio.EndOfChannel: nor will there be: all senders are closed.
        """
        try:
            message = self._channel.receive_nowait()
        except trio.WouldBlock:
            self._alarm.weight = 0
            return None
        return message

    def clone(self) -> QuietReceiver[MessageT]:
        return QuietReceiver(self._channel.clone(), self._alarm)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def receive(self) -> MessageT:
        """Receive as from a memory channel, woken by everything.

        Raises:
            trio.EndOfChannel: nothing more will come.
        """
        return await self._channel.receive()

    def __aiter__(self) -> AsyncIterator[MessageT]:
        return self._channel.__aiter__()


def open_quiet_channel(
    size: int, *, weigh: Weigh[MessageT], weight_max: int
) -> tuple[QuietSender[MessageT], QuietReceiver[MessageT]]:
    """Open a mailbox of *size* messages whose reader sleeps through *weight_max* at most."""
    sender, receiver = trio.open_memory_channel[MessageT](size)
    alarm = _Alarm()
    return QuietSender(sender, alarm, weigh, weight_max), QuietReceiver(receiver, alarm)
