"""The daemon with its log open around it, and the ready line."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from actors.app import notifying
from actors.app.adapters import Adapters
from actors.app.composition import App
from actors.app.describing import describe_on_signal
from actors.app.monitor import open_monitor
from actors.host import logs
from actors.host.advice import WITH_POSTGRES
from actors.host.tokens import TokenFiles
from actors.kit.services import open_service_nursery
from protocol.config.places import StateDir
from protocol.config.settings import Settings
from protocol.errors import ConfigurationError

LOGS_WITHIN_S: Final = 1.0


async def run_daemon(settings: Settings, state: StateDir, tokens: TokenFiles) -> int:
    """Run the daemon, with its log open around it; return the exit status."""
    async with open_around(settings, state, tokens) as (adapters, _):
        return await _runner(settings, state, tokens, adapters)()


@asynccontextmanager
async def open_around(
    settings: Settings, state: StateDir, tokens: TokenFiles
) -> AsyncIterator[tuple[Adapters, trio.Nursery]]:
    """Open what a daemon has around it, while the block runs.

    That is its log, metrics and console, the heartbeat for a service manager, and the
    description of it on a signal. Yields what it is composed with, and a nursery for what
    is to run beside it, which is cancelled at the end of the block.

    Raises:
        CannotListen: an address of metrics or console is taken, unknown or forbidden.
    """
    sinks = _open_logs(settings, state)
    try:
        async with (
            open_monitor(settings, state, tokens) as monitor,
            open_service_nursery() as beside,
        ):
            beside.start_soon(notifying.beat_forever)
            beside.start_soon(describe_on_signal, monitor)
            yield Adapters(monitored=monitor.watching), beside
            beside.cancel_scope.cancel(reason="left")
    finally:
        sinks.close(within_s=LOGS_WITHIN_S)


def _open_logs(settings: Settings, state: StateDir) -> logs.Logs:
    sinks = logs.configure(
        format=settings.log.format, level=settings.log.level, file=state.log, stream=sys.stderr
    )
    for account in settings.accounts:
        sinks.register_secret(account.app_secret.reveal())
    return sinks


async def print_ready(host: str, port: int) -> None:
    """The one line on stdout that starters wait for."""
    await trio.lowlevel.checkpoint()
    sys.stdout.write(f"larkd ready on {host}:{port}\n")
    sys.stdout.flush()
    notifying.notify(f"READY=1\nSTATUS=serving on {host}:{port}")


async def print_standing_by(host: str, port: int) -> None:
    """The line of a node that does not serve, but would."""
    await trio.lowlevel.checkpoint()
    sys.stdout.write(f"larkd standing by on {host}:{port}\n")
    sys.stdout.flush()
    notifying.notify(f"READY=1\nSTATUS=standing by on {host}:{port}")


def _runner(
    settings: Settings, state: StateDir, tokens: TokenFiles, adapters: Adapters
) -> Callable[[], Awaitable[int]]:
    """Return what runs the daemon, or the node where there is a cluster."""
    if settings.cluster is None:
        app = App(settings, state, tokens, adapters)
        return lambda: app.run(print_ready)
    try:
        from actors.app.standby import Node  # noqa: PLC0415  # it needs larkd[postgres]
    except ImportError as missing:
        raise ConfigurationError(
            f"cluster: PostgreSQL's client is not installed; {WITH_POSTGRES}"
        ) from missing
    node = Node(settings, state, tokens, adapters)
    return lambda: node.run(print_standing_by, print_ready)
