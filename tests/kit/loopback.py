"""A virtual clock for what talks over real sockets of one process."""

from __future__ import annotations

import select
import socket
import sys
from typing import Any, Final

from trio._core._run import GLOBAL_RUN_CONTEXT  # what the loop waits for is not public
from trio.testing import MockClock

ARRIVES_WITHIN_S: Final = 60.0


def loopback_clock() -> MockClock:
    """Return a virtual clock that jumps where all tasks wait and nothing is on its way to them.

    That no event comes for a moment does not show it: where the machine is busy, the kernel
    may leave what was sent to a thread of its own, which has to wait for a processor as well.
    Threads are not seen: what one of them does takes no time or all of it.
    """
    clock = MockClock(autojump_threshold=0)
    jump = clock._autojump

    def jump_once_all_has_arrived() -> None:
        _pass_loopback()
        if not _is_anything_ready():
            jump()

    clock._autojump = jump_once_all_has_arrived  # type: ignore[method-assign]  # no other way in
    return clock


def _pass_loopback() -> None:
    """Send a packet to ourselves: it arrives after those that were sent before."""
    with socket.socket(type=socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.settimeout(ARRIVES_WITHIN_S)
        own.sendto(b".", own.getsockname())
        own.recv(1)


def _is_anything_ready() -> bool:
    """Whether the loop would find an event if it asked now."""
    waiting = select.poll()
    manager: Any = GLOBAL_RUN_CONTEXT.runner.io_manager
    waits_by = manager._epoll if sys.platform == "linux" else manager._kqueue
    waiting.register(waits_by.fileno(), select.POLLIN)
    return bool(waiting.poll(0))
