"""By what right the daemon runs: a claim of its cluster, or the lock of its state directory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import trio

from actors import journal
from actors.messages import shutdown


class Claim(Protocol):
    """What the composition asks of it. ``Holding`` is the one of a cluster."""

    @property
    def cluster(self) -> str | None: ...

    @property
    def node(self) -> str | None: ...

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where proxies of other machines find this daemon."""

    @property
    def freshness(self) -> Callable[[], bool] | None:
        """Whether nobody else can hold the claim now; None: nobody else ever can."""

    @property
    def careful(self) -> bool:
        """Whether another process may have used up the platform's budgets just before."""

    @property
    def by_silence(self) -> bool:
        """Whether the last holder fell silent, and may be connected to the platform still."""

    @property
    def wait_given_up(self) -> Callable[[], Awaitable[None]] | None:
        """Waits until the claim is lost: its store commits nothing more, and may hang for long."""

    def open_store(self) -> journal.Store:
        """Open the journal, in its thread."""

    def after_batch(self) -> None:
        """Take note of a batch that was tried; called in the loop."""

    def successor(self) -> tuple[str, ...]:
        """Return where sessions are served next, as far as that is known."""

    def status(self) -> dict[str, Any]:
        """Return what ``status`` shows of it, beside the rest; empty without a cluster."""

    async def watch(
        self,
        shutdown_tx: trio.MemorySendChannel[shutdown.ShutdownMessage],
        leave_quickly: Callable[[float], None],
    ) -> None:
        """Watch over it; ask the daemon to leave when it is lost. Until cancelled."""


class Alone:
    """There is no cluster: the state directory's lock dies with the process."""

    cluster: str | None = None
    node: str | None = None
    addresses: tuple[str, ...] = ()
    freshness: Callable[[], bool] | None = None
    wait_given_up: Callable[[], Awaitable[None]] | None = None
    careful = False
    by_silence = False

    def __init__(self, database: Path) -> None:
        self._database = database

    def open_store(self) -> journal.Store:
        return journal.sqlite_store(self._database)()

    def after_batch(self) -> None:
        pass

    def successor(self) -> tuple[str, ...]:
        return ()

    def status(self) -> dict[str, Any]:
        return {}

    async def watch(
        self,
        _shutdown_tx: trio.MemorySendChannel[shutdown.ShutdownMessage],
        _leave_quickly: Callable[[float], None],
    ) -> None:
        await trio.sleep_forever()
