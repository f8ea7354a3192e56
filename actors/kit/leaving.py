"""The signals that ask a process to leave in order."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

import trio


def receive_leaving_signals() -> AbstractContextManager[AsyncIterator[int]]:
    """Receive SIGINT, SIGTERM and SIGHUP while the block runs, in the place of their defaults.

    SIGHUP, by which a terminal that closes ends what runs in it, only where it is not ignored:
    what was started by ``nohup`` stays.
    """
    asked = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asked.append(signal.SIGHUP)
    return trio.open_signal_receiver(*asked)
