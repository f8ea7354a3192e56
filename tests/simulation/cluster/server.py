"""The database of a simulated cluster: one claim and one journal, and the ways to them.

It keeps what PostgreSQL gives a cluster: a transaction takes the claim's row first and
others wait for it, what is committed is seen by all, an idle transaction is ended, an
asynchronous commit may be lost in a crash. The journal is SQLite in a memory-backed file.
The statements themselves are PostgreSQL's own and are tested there (``tests/cluster``).

What takes time is a coroutine, which the process that calls it awaits where it has a thread.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from actors.journal import JournalUnreachable, SqliteStore
from actors.journal.postgres import ClaimTaken, Seen, Standby
from actors.journal.postgres.taking import MARKS
from actors.messages import journal

TRIP_S: Final = 0.001
GIVEN_UP_AFTER_S: Final = 2.0
"""``tcp_user_timeout``: so long what was sent may stay unanswered by the other kernel."""
LOCK_WITHIN_S: Final = 1.0
IDLE_WITHIN_S: Final = 1.0

Claimed = Callable[[Seen], None]


class Way:
    """How one machine reaches the database."""

    def __init__(self) -> None:
        self.is_cut = False
        self.delay_s = 0.0
        self.changed = trio.Event()

    def let_pass(self, passes: bool) -> None:
        self.is_cut = not passes
        self.touch()

    def touch(self) -> None:
        """Wake all who wait on this way."""
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, done: Callable[[], bool], within_s: float) -> bool:
        """Wait as a thread does, which nothing cuts short; whether *done* came in time."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + within_s):
            while not done():
                await self.changed.wait()
        return done()


class Connection:
    """One connection of a process to the server."""

    def __init__(self, server: Server, way: Way) -> None:
        self.server = server
        self.way = way
        self.closed = False
        server.connections.append(self)

    def close(self) -> None:
        self.closed = True
        self.server.forget(self)
        self.way.touch()

    async def carry(self) -> None:
        """Bring something to the other end.

        Raises:
            JournalUnreachable: it did not come there, and the connection is over.
        """
        await self.way.wait(lambda: self.closed, TRIP_S + self.way.delay_s)
        passed = await self.way.wait(lambda: self.closed or not self.way.is_cut, GIVEN_UP_AFTER_S)
        if self.closed or not passed:
            self.close()
            raise JournalUnreachable("server closed the connection unexpectedly")


class Server:
    def __init__(
        self, path: Path, keys: Mapping[str, str], chance: random.Random, claimed: Claimed
    ) -> None:
        """*claimed* is called at the commit of each claim, with what was there before."""
        self.path = path
        self.keys = dict(keys)
        self.is_up = True
        self.connections: list[Connection] = []
        self.claims: list[tuple[float, str]] = []
        """When which node claimed."""
        self.looks: list[tuple[float, str]] = []
        """When which standby looked."""
        self.now = Seen(
            cluster="sim", term=0, mark=0, batch=0, node=None, addresses=(), wanted=None, tokens=0
        )
        self.journal: SqliteStore | None = None
        self._chance = chance
        self._claimed = claimed
        self._standbys: dict[str, tuple[float, tuple[str, ...], str]] = {}
        self._safe_batch = 0
        self._owner: Connection | None = None
        self._owned_at = 0.0
        self._freed = trio.Event()

    # ── connections ─────────────────────────────────────────────────────────

    async def connect(self, way: Way) -> Connection:
        """Raises JournalUnreachable: nobody answers."""
        connection = Connection(self, way)
        await connection.carry()
        if not self.is_up:
            connection.close()
            raise JournalUnreachable("Connection refused")
        await connection.carry()
        return connection

    def forget(self, connection: Connection) -> None:
        """End a connection at this end: what it had not committed is rolled back."""
        if connection in self.connections:
            self.connections.remove(connection)
        if self._owner is connection:
            self.release(connection)

    def stop(self) -> None:
        """Crash: every connection is over, and beats that were not flushed may be lost."""
        self.is_up = False
        for connection in tuple(self.connections):
            connection.close()
        if self._chance.random() < 0.5:
            self.now = msgspec.structs.replace(self.now, batch=self._safe_batch)

    def start(self) -> None:
        self.is_up = True

    # ── the claim's row ─────────────────────────────────────────────────────

    async def take(self, connection: Connection) -> None:
        """Take the row for a transaction, when who has it is done.

        Raises:
            JournalUnreachable: it took too long; the transaction failed.
        """
        until = trio.current_time() + LOCK_WITHIN_S
        while self._owner is not None:
            idle_at = self._owned_at + IDLE_WITHIN_S
            if trio.current_time() >= idle_at:
                self._owner.close()  # idle_in_transaction_session_timeout
                continue
            if trio.current_time() >= until or connection.closed:
                raise JournalUnreachable("canceling statement due to lock timeout")
            with trio.CancelScope(shield=True, deadline=min(until, idle_at)):
                await self._freed.wait()
        self._owner, self._owned_at = connection, trio.current_time()

    def has(self, connection: Connection) -> bool:
        """Whether its transaction still has the row."""
        idle = trio.current_time() - self._owned_at >= IDLE_WITHIN_S
        return self._owner is connection and not idle

    def release(self, connection: Connection) -> None:
        if self._owner is connection:
            self._owner = None
            self._freed.set()
            self._freed = trio.Event()

    def set_batch(self, number: int, *, surely: bool) -> None:
        self.now = msgspec.structs.replace(self.now, batch=number)
        if surely:
            self._safe_batch = number

    def apply(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        assert self.journal is not None
        return self.journal.apply(batch)

    def free(self) -> None:
        self.now = msgspec.structs.replace(self.now, node=None)

    def want(self, node: str) -> None:
        if self.now.node is not None:
            self.now = msgspec.structs.replace(self.now, wanted=node)

    def claim(
        self, seen: Seen, node: str, addresses: Sequence[str], sent_at: float
    ) -> ClaimTaken | None:
        """Claim if nothing has changed since it was *seen*; the caller has the row."""
        before = self.now
        if (before.mark, before.batch) != (seen.mark, seen.batch):
            return None
        if self.journal is not None:
            self.journal.close()
        self.journal = SqliteStore.open(self.path)
        mark, term = self._chance.randrange(1, MARKS), before.term + 1
        self.journal.connection.execute(
            "UPDATE meta SET value = ? WHERE key = 'generation'", (term,)
        )
        self.now = msgspec.structs.replace(
            before,
            term=term,
            mark=mark,
            batch=0,
            node=node,
            addresses=tuple(addresses),
            wanted=None,
        )
        self._safe_batch = 0
        self._standbys.pop(node, None)
        self.claims.append((trio.current_time(), node))
        self._claimed(before)
        return ClaimTaken(
            term=term,
            mark=mark,
            sent_at=sent_at,
            tokens=before.tokens,
            keys=dict(self.keys),
            replicated=False,
        )

    # ── standbys ────────────────────────────────────────────────────────────

    def sign_in(self, node: str, addresses: Sequence[str], version: str) -> None:
        self._standbys[node] = (trio.current_time(), tuple(addresses), version)

    def sign_out(self, node: str) -> None:
        self._standbys.pop(node, None)

    def standbys(self, within_s: float) -> tuple[Standby, ...]:
        now = trio.current_time()
        return tuple(
            Standby(
                cluster="sim",
                node=node,
                addresses=addresses,
                version=version,
                seen_ms=round((now - at) * 1000),
            )
            for node, (at, addresses, version) in sorted(self._standbys.items())
            if now - at <= within_s
        )
