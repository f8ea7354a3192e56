"""A node of a cluster: stand by, serve when the cluster is free or silent, and again.

One process serves one cluster at a time or stands by for it; the daemon's composition runs
once for each claim. The listeners stay open over all of it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from functools import partial
from typing import Final, TypeVar, TypeVarTuple

import msgspec
import structlog
import trio

from actors.app.adapters import Adapters
from actors.app.composition import App
from actors.app.database import ClusterWatcher, Database
from actors.app.holding import Holding, HoldingSettings, connect_to_node
from actors.app.listening import Listeners, open_all
from actors.host import state_dir
from actors.host.exit_status import ExitStatus
from actors.host.tokens import TokenFiles
from actors.journal import JournalError, JournalNewer, JournalUnavailable, JournalUnreachable
from actors.journal.postgres import ClaimTaken, DatabaseError, Seen, Target
from actors.kit.listening import Borrowed, serve_borrowed
from actors.kit.tls_serving import shake_hands
from protocol import __version__
from protocol.config.places import DaemonInfo, StateDir
from protocol.config.settings import Settings
from protocol.routing.claim import Sight, Watch, spread_s
from protocol.wire import messages as wire
from protocol.wire.framing import frame
from protocol.wire.vocabulary import ROLES

LOOK_EVERY_S: Final = 0.25
SIGN_IN_EVERY_S: Final = 5.0
LOG_AGAIN_S: Final = 30.0
"""How often it is logged why this node can't stand by or claim."""
REFUSE_WITHIN_S: Final = 5.0
RETRY_AFTER_MS: Final = 250
ANSWER_WITHIN_S: Final = 3.0
"""What a standby asks waits for a lock 1 s at most; its server's kernel, 2 s for an answer."""
RELEASE_WITHIN_S: Final = 5.0
"""As the journal's own end."""

ArgumentTs = TypeVarTuple("ArgumentTs")
ResultT = TypeVar("ResultT")
Announce = Callable[[str, int], Awaitable[None]]

log = structlog.get_logger()


class Node:
    """This process as a node of its cluster."""

    def __init__(
        self,
        settings: Settings,
        state: StateDir,
        tokens: TokenFiles,
        adapters: Adapters,
        database: Database | None = None,
    ) -> None:
        """*database* is PostgreSQL, reached by sockets, unless it is given."""
        cluster = settings.cluster
        assert cluster is not None, "a node has a cluster"
        self._settings = settings
        self._state = state
        self._tokens = tokens
        self._adapters = adapters
        self._database = database or Database()
        self._addresses = cluster.advertise
        self._target = Target(
            database=cluster.database.reveal(),
            cluster=cluster.name,
            node=cluster.node or socket.gethostname(),
        )
        self._seen: Seen | None = None
        self._started_at_ms = adapters.now_ms()
        self._logged_at: dict[str, float] = {}
        self._tokens_seen: int | None = None
        self._asked_to_leave = False
        self.app: App | None = None
        """The daemon that serves now, or served last."""

    async def run(self, standing_by: Announce, ready: Announce) -> int:
        """Serve or stand by until asked to leave; return the exit status.

        *standing_by* and *ready* are called with host and port, each time anew.

        Raises:
            JournalError: the database refuses this node; the text names the remedy.
            CannotListen, OSError: what kept the node from listening.
        """
        listen = self._settings.listen
        listeners, port = await open_all(self._adapters.listen, listen)
        # The composition is given them open, and opens none by itself.
        inner = msgspec.structs.replace(
            self._settings, listen=msgspec.structs.replace(listen, tls=None)
        )
        first = True
        try:
            while True:
                watcher = await self._open_first() if first else None
                first = False
                holding = await self._stand_by(listeners, port, watcher, standing_by)
                if holding is None:
                    return ExitStatus.ORDERLY
                self.app = app = App(
                    inner,
                    self._state,
                    self._tokens,
                    msgspec.structs.replace(self._adapters, listen=partial(_kept, listeners, port)),
                    holding,
                )
                status = await app.run(ready)
                if holding.ended is None or app.signalled:
                    return status
        finally:
            for listener in listeners:
                await trio.aclose_forcefully(listener)

    async def _open_first(self) -> ClusterWatcher | None:
        """Connect for the first time: what a person has to put right ends the start."""
        in_thread = self._adapters.in_thread
        try:
            watcher = await in_thread(self._database.open_watcher, self._target)
            try:
                await in_thread(watcher.require_own_name)
            except BaseException:
                watcher.close()
                raise
        except (JournalUnreachable, DatabaseError) as away:
            self._log("cluster.database_away", " ".join(str(away).split()))
            return None
        return watcher

    # ── standing by ─────────────────────────────────────────────────────────

    async def _stand_by(
        self,
        listeners: Listeners,
        port: int,
        watcher: ClusterWatcher | None,
        standing_by: Announce,
    ) -> Holding | None:
        """Stand by until the cluster is claimed; None: asked to leave before.

        A claim that is committed while the node is asked to leave is given back at once.
        """
        holding: Holding | None = None
        with self._adapters.signals() as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._leave_at, signals, nursery.cancel_scope)
                for listener in listeners:
                    nursery.start_soon(serve_borrowed, listener, self._refuse, nursery)
                self._write_daemon_info(port)
                log.info(
                    "cluster.standing_by", cluster=self._target.cluster, node=self._target.node
                )
                await standing_by(self._settings.listen.host, port)
                holding = await self._watch(watcher)
                nursery.cancel_scope.cancel(reason="claimed")
            if holding is not None and self._asked_to_leave:
                with trio.move_on_after(RELEASE_WITHIN_S, shield=True):
                    await self._adapters.in_thread(holding.open_store().close)
                holding = None
        if holding is None:
            state_dir.remove_daemon_info(self._state)
        return holding

    async def _watch(self, watcher: ClusterWatcher | None) -> Holding:
        """Look each :data:`LOOK_EVERY_S`; return once a claim was committed."""
        watch = Watch(self._target.node)
        signed_in_at = self._database.now() - SIGN_IN_EVERY_S
        seen: Seen | None = None
        try:
            while True:
                began = self._database.now()
                try:
                    if watcher is None:
                        watcher = await self._adapters.in_thread(
                            self._database.open_watcher, self._target
                        )
                    if seen is None or not watch.may_claim(began):
                        self._seen = seen = await self._ask(watcher, watcher.look)
                        watch.looked(self._database.now(), _sight(seen))
                    if seen.term and seen.tokens != self._tokens_seen:
                        self._write_tokens(await self._ask(watcher, watcher.keys))
                        self._tokens_seen = seen.tokens
                    if watch.may_claim(self._database.now()):
                        holding = await self._claim(watcher, seen, by_silence=watch.by_silence)
                        if holding is not None:
                            watcher = None
                            return holding
                        watch.forget()  # it has changed
                    if began - signed_in_at >= SIGN_IN_EVERY_S:
                        await self._ask(watcher, watcher.sign_in, self._addresses, __version__)
                        signed_in_at = began
                except JournalNewer as newer:
                    self._log("cluster.schema_newer", str(newer))
                    watch.forget()
                except (DatabaseError, JournalUnavailable) as lost:
                    self._log("cluster.database_away", " ".join(str(lost).split()))
                    watch.forget()
                    if watcher is not None:
                        watcher.close()
                        watcher = None
                next_at = began + LOOK_EVERY_S
                if watch.claims_at is not None:
                    next_at = min(next_at, watch.claims_at)
                await trio.sleep(max(0.0, next_at - self._database.now()))
        finally:
            if watcher is not None:
                with trio.CancelScope(shield=True):  # _ask has a deadline
                    await self._sign_out(watcher)
                watcher.close()

    async def _ask(
        self,
        watcher: ClusterWatcher,
        function: Callable[[*ArgumentTs], ResultT],
        *args: *ArgumentTs,
    ) -> ResultT:
        """Call a method of the watcher, in a thread: to its end, or until it hangs.

        Cancelled, it is waited for all the same: what it did is known then.

        Raises:
            DatabaseError, JournalUnavailable: as the method; also after
                :data:`ANSWER_WITHIN_S` without an answer.
        """
        answered = trio.Event()

        async def hang_up_late() -> None:
            with trio.move_on_after(ANSWER_WITHIN_S, shield=True):
                await answered.wait()
                return
            watcher.hang_up()

        found: ResultT | DatabaseError | JournalError
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang_up_late)
            try:
                found = await self._adapters.in_thread(function, *args)
            except (DatabaseError, JournalError) as failed:
                found = failed  # raised below, and in no group
            finally:
                answered.set()
        if isinstance(found, DatabaseError | JournalError):
            raise found
        return found

    async def _sign_out(self, watcher: ClusterWatcher) -> None:
        """Who leaves in order is no standby any more; a dead one is seen no more."""
        try:
            await self._ask(watcher, watcher.sign_out)
        except (DatabaseError, JournalUnavailable) as lost:
            log.debug("cluster.not_signed_out", reason=" ".join(str(lost).split()))

    async def _claim(
        self, watcher: ClusterWatcher, seen: Seen, *, by_silence: bool
    ) -> Holding | None:
        await trio.sleep(spread_s(seen.held, self._adapters.below(1_000) / 1_000))
        claimed: ClaimTaken | None = await self._ask(
            watcher, partial(watcher.claim, seen, self._addresses, now=self._database.now)
        )
        if claimed is None:
            return None
        self._write_tokens(claimed.keys)
        log.info(
            "cluster.claimed",
            cluster=self._target.cluster,
            node=self._target.node,
            term=claimed.term,
            by_silence=by_silence,
            before=seen.node,
        )
        tls = self._settings.listen.tls
        certificate = (None, None) if tls is None else (tls.cert_file, tls.key_file)
        return Holding(
            self._target,
            watcher.open_store(claimed, now=self._database.now),
            claimed,
            HoldingSettings(
                addresses=self._addresses,
                write_tokens=self._write_tokens,
                connect=self._database.connect or partial(connect_to_node, certificate),
                now=self._database.now,
            ),
            by_silence=by_silence,
        )

    async def _leave_at(self, signals: AsyncIterable[int], scope: trio.CancelScope) -> None:
        async for _number in signals:
            self._asked_to_leave = True
            scope.cancel(reason="asked to leave")

    async def _refuse(self, stream: trio.abc.Stream) -> None:
        """Send where the holder is, and close. Nothing of the proxy is read."""
        seen = self._seen
        known = seen is not None and seen.node is not None
        refused = wire.Refused(
            code="standby",
            message=f"node {self._target.node} stands by for cluster {self._target.cluster}",
            at=list(seen.addresses) if seen is not None and known else [],
            node=seen.node if seen is not None else None,
            retry_after_ms=RETRY_AFTER_MS,
        )
        with trio.move_on_after(REFUSE_WITHIN_S):
            try:
                async with stream:
                    if not await shake_hands(stream):
                        return
                    await stream.send_all(frame(refused))
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as lost:
                log.debug("link.broken", reason=repr(lost))

    # ── what lies in the state directory ────────────────────────────────────

    def _write_tokens(self, keys: Mapping[str, str]) -> None:
        for role in ROLES:
            key = keys.get(role)
            path = self._state.token(role)
            if key is not None and (not path.exists() or path.read_text().strip() != key):
                state_dir.write_private(path, key.encode())

    def _write_daemon_info(self, port: int) -> None:
        info = DaemonInfo(
            host=self._settings.listen.host,
            port=port,
            pid=os.getpid(),
            version=__version__,
            generation=0,
            started_at=self._started_at_ms,
            cluster=self._target.cluster,
            node=self._target.node,
            addresses=list(self._addresses),
        )
        try:
            state_dir.write_daemon_info(self._state, info)
        except OSError as failed:  # full disk: proxies can still be given the address
            log.warning("daemon.info_not_written", reason=str(failed))

    def _log(self, event: str, reason: str) -> None:
        """Log a reason when it begins to hold, and again each :data:`LOG_AGAIN_S`."""
        now = trio.current_time()
        if now - self._logged_at.get(event, now - LOG_AGAIN_S) >= LOG_AGAIN_S:
            self._logged_at[event] = now
            log.warning(event, cluster=self._target.cluster, reason=reason)


def _sight(seen: Seen) -> Sight:
    return Sight(mark=seen.mark, batch=seen.batch, node=seen.node, wanted=seen.wanted)


async def _kept(listeners: Listeners, port: int, _host: str, _port: int) -> tuple[Listeners, int]:
    """Give the composition listeners that stay open when it ends."""
    await trio.lowlevel.checkpoint()
    return [Borrowed(listener) for listener in listeners], port
