"""What a process does at the simulated database: a standby's looks and claims, a holder's batches.

The same protocol as ``actors/journal/postgres`` has it: fence, beat, and the outcome of a
COMMIT whose answer was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import trio

from actors.journal import JournalUnreachable
from actors.journal.postgres import STANDBY_SEEN_MS, ClaimTaken, Seen, Standing, Target
from actors.journal.postgres.store import BEAT_EVERY_S, RESOLVE_AGAIN_S, RESOLVE_WITHIN_S
from actors.journal.store import JournalStatistics, Tally
from actors.messages import journal
from tests.simulation.cluster.server import Connection, Server, Way


class Watcher:
    """One connection of a standby."""

    def __init__(self, target: Target, connection: Connection) -> None:
        self._target = target
        self._connection = connection
        self._server = connection.server

    @classmethod
    async def open(cls, target: Target, server: Server, way: Way) -> Watcher:
        return cls(target, await server.connect(way))

    def close(self) -> None:
        self._connection.close()

    def hang_up(self) -> None:
        self._connection.close()

    def require_own_name(self) -> None:
        pass

    async def look(self) -> Seen:
        self._server.looks.append((trio.current_time(), self._target.node))
        return await self._read()

    async def _read(self) -> Seen:
        await self._connection.carry()
        seen = self._server.now
        await self._connection.carry()
        return seen

    async def keys(self) -> dict[str, str]:
        await self._read()
        return dict(self._server.keys)

    async def sign_in(self, addresses: Sequence[str], version: str) -> None:
        await self._connection.carry()
        self._server.sign_in(self._target.node, addresses, version)
        await self._connection.carry()

    async def sign_out(self) -> None:
        await self._connection.carry()
        self._server.sign_out(self._target.node)
        await self._connection.carry()

    async def claim(
        self, seen: Seen, addresses: Sequence[str], *, now: Callable[[], float]
    ) -> ClaimTaken | None:
        sent_at = now()
        await self._connection.carry()
        await self._server.take(self._connection)
        try:
            claimed = self._server.claim(seen, self._target.node, addresses, sent_at)
        finally:
            self._server.release(self._connection)
        await self._connection.carry()
        return claimed

    def open_store(self, claimed: ClaimTaken, *, now: Callable[[], float]) -> Store:
        return Store(self._connection, claimed, now)


class InDoubt(Exception):
    """The connection was lost in COMMIT."""


class Fenced(Exception):
    """Another process holds the cluster."""


class Store:
    """The journal of a process that has claimed."""

    beat_every_s: float | None = BEAT_EVERY_S

    def __init__(
        self, connection: Connection, claimed: ClaimTaken, now: Callable[[], float]
    ) -> None:
        self.generation = claimed.term
        self.is_over = False
        """Whether it was closed: it commits nothing any more, and knows."""
        self._connection = connection
        self._server = connection.server
        self._way = connection.way
        self._mark = claimed.mark
        self._batch = 0
        self._now = now
        self._tally = Tally()
        self._abandoned = False
        self._standing = Standing(confirmed_at=claimed.sent_at, lost=False, tokens=claimed.tokens)

    def standing(self) -> Standing:
        return self._standing

    def hang_up(self) -> None:
        self._connection.close()

    def abandon(self) -> None:
        self._abandoned = True
        self._standing = msgspec.structs.replace(self._standing, lost=True)
        self.hang_up()

    async def pass_time(self, seconds: float) -> None:
        """Wait as a thread does for a server that takes its time."""
        connection = self._connection
        if not connection.closed:
            await self._way.wait(lambda: connection.closed, seconds)

    def statistics(self) -> JournalStatistics:
        return self._tally.statistics()

    async def apply(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        self._tally.begin(batch)
        try:
            answers = await self._tried(batch)
        except Fenced as fenced:
            self._standing = msgspec.structs.replace(
                self._standing, lost=True, successor=self._server.now.addresses
            )
            answers = [self._tally.failure(fenced)] * len(batch)
        except JournalUnreachable as failed:
            answers = [self._tally.failure(failed)] * len(batch)
        return self._tally.finish(answers)

    async def close(self) -> None:
        if not self._standing.lost and not self._connection.closed:
            with suppress(JournalUnreachable, Fenced, InDoubt):
                await self._transaction([], leave=True)
        self.is_over = True
        self._connection.close()

    async def _tried(self, batch: Sequence[journal.JournalMessage]) -> list[Any]:
        if self._standing.lost or self._abandoned:
            raise Fenced("another process holds the cluster now")
        await self._reconnect()
        try:
            return await self._transaction(batch)
        except InDoubt as doubt:
            (answers,) = doubt.args
            return await self._resolved(self._batch, batch, answers)

    async def _reconnect(self) -> None:
        if self._connection.closed:
            self._connection = await self._server.connect(self._way)
            if self._abandoned:
                self._connection.close()
                raise Fenced("given up meanwhile")

    async def _transaction(
        self, batch: Sequence[journal.JournalMessage], *, leave: bool = False
    ) -> list[Any]:
        connection, server = self._connection, self._server
        self._batch += 1
        sent_at = self._now()
        await connection.carry()
        await server.take(connection)
        if server.now.mark != self._mark:
            server.release(connection)
            raise Fenced("another process holds the cluster now")
        wanted = server.now.wanted
        await connection.carry()
        answers: list[Any] = []
        try:
            await connection.carry()  # COMMIT
            if not server.has(connection):
                connection.close()
                raise JournalUnreachable("terminating connection due to idle transaction")
            answers = server.apply(batch) if batch else []
            server.set_batch(self._batch, surely=bool(batch) or leave)
            if leave:
                server.free()
            server.release(connection)
            await connection.carry()
        except JournalUnreachable:
            raise InDoubt(answers) from None
        self._confirm(sent_at, wanted)
        return answers

    def _confirm(self, sent_at: float, wanted: str | None) -> None:
        self._standing = msgspec.structs.replace(
            self._standing,
            confirmed_at=max(sent_at, self._standing.confirmed_at),
            wanted=wanted,
            standbys=self._server.standbys(STANDBY_SEEN_MS / 1000),
        )

    async def _resolved(
        self, number: int, batch: Sequence[journal.JournalMessage], answers: list[Any]
    ) -> list[Any]:
        happened = {number: True}
        until = self._now() + RESOLVE_WITHIN_S
        while self._now() < until:
            if self._abandoned:
                raise Fenced("given up meanwhile")
            try:
                await self._reconnect()
                found = await self._read_outcome(happened)
            except JournalUnreachable:
                with trio.CancelScope(shield=True):
                    await trio.sleep(RESOLVE_AGAIN_S)
                continue
            failed = [self._tally.failure(JournalUnreachable("lost in COMMIT"))] * len(batch)
            return answers if found else failed
        raise Fenced("the outcome was not to be had")

    async def _read_outcome(self, happened: dict[int, bool]) -> bool:
        connection, server, sent_at = self._connection, self._server, self._now()
        await connection.carry()
        await server.take(connection)
        try:
            if server.now.mark != self._mark:
                raise Fenced("another process holds the cluster now")
            found = happened.get(server.now.batch, False)
            self._batch += 1
            happened[self._batch] = found
            server.set_batch(self._batch, surely=True)
            wanted = server.now.wanted
        finally:
            server.release(connection)
        await connection.carry()
        self._confirm(sent_at, wanted)
        return found
