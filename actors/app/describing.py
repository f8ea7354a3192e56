"""SIGUSR1: what the daemon does at this moment goes to its log. It runs on undisturbed."""

from __future__ import annotations

import signal
from typing import Any

import structlog
import trio

from actors.app.monitor import Monitor
from actors.kit.tasks import task_lines
from actors.monitoring import Peers

log = structlog.get_logger()


async def describe_on_signal(monitor: Monitor) -> None:
    """Log every task and mailbox at each SIGUSR1, which by default would end the process."""
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        async for _ in signals:
            log.warning(
                "daemon.described",
                tasks=task_lines(),
                mailboxes={} if monitor.peers is None else _mailboxes(monitor.peers),
            )


def _mailboxes(peers: Peers) -> dict[str, str]:
    """Return of each mailbox how many messages are unread, were at most, and fit."""
    channels: dict[str, trio.MemorySendChannel[Any]] = {
        "journal": peers.journal_tx,
        "ownership": peers.ownership_tx,
        "lanes": peers.lanes_tx,
        "approvals": peers.approvals_tx,
        **{f"gateway {account}": channel for account, channel in peers.gateways.items()},
    }
    now = {name: channel.statistics() for name, channel in channels.items()}
    return {
        name: f"{one.current_buffer_used} unread, {one.peak_buffer_used} at most, "
        f"of {one.max_buffer_size}"
        for name, one in now.items()
    }
