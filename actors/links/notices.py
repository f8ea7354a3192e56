"""What a receiver must learn, however busy it is: kept until its mailbox has taken each."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

MessageT = TypeVar("MessageT")


class EndNotices(Generic[MessageT]):
    """Messages of all links to one receiver, in order.

    Each is the end of something that the receiver was sent before through the same mailbox,
    so there are never more than it has taken. What is left when the links end altogether is
    covered by the notice with which they start again.
    """

    def __init__(self, mailbox: trio.MemorySendChannel[MessageT]) -> None:
        self._mailbox = mailbox
        self._unsent: deque[MessageT] = deque()
        self._work = trio.Event()

    def add(self, message: MessageT) -> None:
        self._unsent.append(message)
        self._work.set()

    async def run(self) -> None:
        """Send until cancelled, however long the receiver takes."""
        while True:
            while self._unsent:
                await self._mailbox.send(self._unsent[0])
                self._unsent.popleft()
            self._work = trio.Event()
            await self._work.wait()
