"""Messages to lanes without waiting: what their host has no capacity for is sent again."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from actors.kit.mailbox import offer
from actors.messages import lane

SEND_AGAIN_S: Final = 0.05


class Lanes:
    def __init__(self, lanes_tx: trio.MemorySendChannel[lane.LaneMessage]) -> None:
        self._lanes_tx = lanes_tx
        self._unsent: deque[lane.LaneMessage] = deque()

    @property
    def backlogged(self) -> bool:
        """Whether something waits to be sent again."""
        return bool(self._unsent)

    def send(self, message: lane.LaneMessage) -> None:
        if self._unsent or not offer(self._lanes_tx, message):
            self._unsent.append(message)

    def send_again(self) -> None:
        while self._unsent and offer(self._lanes_tx, self._unsent[0]):
            self._unsent.popleft()
