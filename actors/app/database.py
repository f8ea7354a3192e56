"""What a node touches beside what every daemon does, as arguments of it.

That is its cluster's database, the other nodes, and a clock that goes on while the machine
sleeps. The real ones are the defaults; the simulation passes others, in
memory and in virtual time. What is synchronous is run by ``Adapters.in_thread``, or by the
journal's worker.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
import trio

from actors.journal import Store
from actors.journal.postgres import ClaimTaken, PostgresStore, Seen, Standing, Target, Watcher
from protocol.wire.addresses import Address


class ClusterStore(Store, Protocol):
    """The journal of a cluster this process has claimed."""

    def standing(self) -> Standing:
        """Return how the holder stands after the last batch. From any thread."""

    def hang_up(self) -> None:
        """Let a call that waits on the connection go on with an error. From any thread."""

    def abandon(self) -> None:
        """Commit nothing from now on: the cluster is lost. From any thread."""


class ClusterWatcher(Protocol):
    """One connection of a standby; what is raised is as of :class:`Watcher`."""

    def require_own_name(self) -> None: ...
    def look(self) -> Seen: ...
    def keys(self) -> dict[str, str]: ...
    def sign_in(self, addresses: Sequence[str], version: str) -> None: ...
    def sign_out(self) -> None: ...
    def claim(
        self, seen: Seen, addresses: Sequence[str], *, now: Callable[[], float]
    ) -> ClaimTaken | None: ...
    def open_store(self, claimed: ClaimTaken, *, now: Callable[[], float]) -> ClusterStore:
        """Hand the connection over to the journal; the watcher is not used any more."""

    def hang_up(self) -> None:
        """Let a call that waits on the connection go on with an error. From any thread."""

    def close(self) -> None: ...


class PostgresWatcher(Watcher):
    """A watcher whose connection becomes that of the journal."""

    def open_store(self, claimed: ClaimTaken, *, now: Callable[[], float]) -> PostgresStore:
        return PostgresStore(self.target, self.connection, claimed, now=now)


def boot_time() -> float:
    """Return a clock, in seconds, that goes on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Database(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    open_watcher: Callable[[Target], ClusterWatcher] = PostgresWatcher.open
    """Connects.

    Raises:
        JournalUnavailable: it can't be used; the text names the remedy.
    """
    connect: Callable[[Address], Awaitable[trio.abc.Stream]] | None = None
    """Opens the stream on which another node is asked; None: TCP, and TLS where it asks for it."""
    now: Callable[[], float] = boot_time
