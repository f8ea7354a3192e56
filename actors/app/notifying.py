"""Readiness and heartbeat for the service manager that started the daemon, if one did."""

from __future__ import annotations

import os
from typing import Final

import sdnotify
import trio

BEATS_IN_A_WINDOW: Final = 3
"""One may come late and another be lost before the daemon counts as hung."""


def notify(state: str) -> None:
    """Send *state* to systemd, ``READY=1`` for example; without systemd nothing happens."""
    sdnotify.SystemdNotifier().notify(state)


async def beat_forever() -> None:
    """Notify the watchdog that the loop runs, as often as it asked for; else sleep."""
    window_us = os.environ.get("WATCHDOG_USEC", "")
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not (window_us.isdigit() and int(window_us) and ours):
        await trio.sleep_forever()
    every_s = int(window_us) / 1_000_000 / BEATS_IN_A_WINDOW
    while True:
        notify("WATCHDOG=1")
        await trio.sleep(every_s)
