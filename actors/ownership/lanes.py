"""Telling lanes without waiting: what their host has no room for is told again, in order."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from actors.kit.mailbox import offer
from actors.messages import lane

RETRY_TELLING_S: Final = 0.05


class Lanes:
    def __init__(self, lanes_tx: trio.MemorySendChannel[lane.LaneMessage]) -> None:
        self._lanes_tx = lanes_tx
        self._untold: deque[lane.LaneMessage] = deque()

    @property
    def behind(self) -> bool:
        """Whether something waits to be told again."""
        return bool(self._untold)

    def tell(self, message: lane.LaneMessage) -> None:
        if self._untold or not offer(self._lanes_tx, message):
            self._untold.append(message)

    def tell_again(self) -> None:
        while self._untold and offer(self._lanes_tx, self._untold[0]):
            self._untold.popleft()
