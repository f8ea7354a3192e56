"""Metrics and console beside the daemon: they are served also while it stands by.

Their addresses are opened before anything else can fail on them; a crash of what serves
them is restarted, and costs no session anything.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Final

import msgspec
import structlog
import trio

from actors.app.listening import certificate_files, open_listeners
from actors.app.reporting import report
from actors.host import state_dir
from actors.host.log_reading import events_about
from actors.host.tokens import TokenFiles
from actors.kit.services import open_service_nursery
from actors.kit.supervisor import Child, RestartBudget, Strategy, Supervisor
from actors.monitoring import Peers
from actors.monitoring.peers import HttpSettings
from protocol.config.places import StateDir
from protocol.config.settings import HttpListen, Settings

BUDGET: Final = RestartBudget(restarts_max=100, window_s=60.0, backoff_max_s=30.0)
"""With its backoff it never gives up: no metrics are no reason to end a daemon."""

log = structlog.get_logger()


class Monitor:
    """Knows whom to ask: the daemon that runs now, if one does."""

    def __init__(self) -> None:
        self.peers: Peers | None = None

    @contextmanager
    def watching(self, peers: Peers) -> Iterator[None]:
        """Ask *peers* while the block runs."""
        self.peers = peers
        try:
            yield
        finally:
            self.peers = None


@asynccontextmanager
async def open_monitor(
    settings: Settings, state: StateDir, tokens: TokenFiles
) -> AsyncIterator[Monitor]:
    """Serve what the configuration names, while the block runs.

    Raises:
        CannotListen: an address is taken, unknown or forbidden.
    """
    monitor = Monitor()
    if settings.metrics is None and settings.console is None:
        yield monitor
        return
    from actors.monitoring import http  # noqa: PLC0415  # its libraries are large
    from actors.monitoring.console import Access  # noqa: PLC0415  # likewise

    async with AsyncExitStack() as stack:
        metrics = await _listen(stack, "metrics", settings.metrics)
        served = http.Served(
            metrics=metrics,
            console=metrics
            if settings.one_http_address
            else await _listen(stack, "console", settings.console),
            access=Access(role_of=tokens.console_role, log_about=partial(events_about, state.log)),
            peers=lambda: monitor.peers,
        )

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            await http.serve(served, task_status=task_status)

        supervisor = Supervisor(
            [Child(name="monitoring", run=run)],
            Strategy.ONE_FOR_ONE,
            BUDGET,
            report=report,
            rng=random.Random(os.urandom(16)),  # noqa: S311  # jitter
        )
        if served.console is not None:
            _write_address(state, served.console)
        try:
            async with open_service_nursery() as services:
                await services.start(supervisor.run)
                yield monitor
                services.cancel_scope.cancel(reason="left")
        finally:
            state.console.unlink(missing_ok=True)


def _write_address(state: StateDir, console: HttpSettings) -> None:
    scheme = "http" if console.tls is None else "https"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(console.host, console.host)  # noqa: S104  # not bound here
    shown = f"[{host}]" if ":" in host else host
    content = msgspec.json.encode({"url": f"{scheme}://{shown}:{console.port}/"})
    with suppress(OSError):  # full disk: the log has the address too
        state_dir.write_private(state.console, content)


async def _listen(
    stack: AsyncExitStack, what: str, where: HttpListen | None
) -> HttpSettings | None:
    if where is None:
        return None
    files = None if where.tls is None else certificate_files(where.tls, f"{what}.tls")
    option = f"{what}.port of the configuration"
    listeners = await open_listeners(where.host, where.port, option=option)
    for listener in listeners:
        stack.push_async_callback(trio.aclose_forcefully, listener)
    port = listeners[0].socket.getsockname()[1]
    log.info("http.serving", what=what, host=where.host, port=port, tls=files is not None)
    return HttpSettings(
        host=where.host,
        port=port,
        sockets=tuple(listener.socket.fileno() for listener in listeners),
        tls=files,
    )
