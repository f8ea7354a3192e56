"""The composition: every resource and channel opened, and the supervision tree stated.

No logic lives here. Indentation is lifetime: what stands further left is opened
earlier and closed later, whatever ends the daemon.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import structlog
import trio

from actors import agents, journal
from actors.app import limits, shutdown
from actors.app.adapters import Adapters
from actors.app.claims import Alone, Claim
from actors.app.listening import Listeners, open_all
from actors.app.mailboxes import Account, Mailboxes, accounts_of
from actors.app.peers import (
    daemon_info,
    gateway_settings,
    monitoring_peers,
    monthly_count,
    pictures_settings,
)
from actors.app.reporting import report
from actors.app.runs import Resources, Runs
from actors.feishu import gateway, pictures
from actors.host import state_dir
from actors.host.exit_status import ExitStatus
from actors.host.tokens import TokenFiles
from actors.kit.cleanup import CleanupBudget
from actors.kit.services import open_service_nursery
from actors.kit.supervisor import (
    Child,
    Restart,
    RestartBudget,
    RestartsExhausted,
    StartTimedOut,
    Strategy,
    Supervisor,
)
from actors.monitoring import Peers
from protocol.config.places import StateDir
from protocol.config.settings import Settings
from protocol.ids import ConnectionId

log = structlog.get_logger()


class App:
    """One daemon's resources and channels."""

    def __init__(
        self,
        settings: Settings,
        state: StateDir,
        tokens: TokenFiles,
        adapters: Adapters,
        claim: Claim | None = None,
    ) -> None:
        """*claim* is None where there is no cluster."""
        self._adapters = adapters
        self._claim = claim or Alone(state.database)
        self.signalled = False
        """Whether a signal asked the process to end, once the run is over."""
        self._settings = settings
        self._state = state
        self._tokens = tokens
        self._rng = random.Random(adapters.random_bytes(16))  # noqa: S311  # jitter
        self._boxes = Mailboxes()
        self._accounts = accounts_of(settings.accounts)
        tuning = [account.tuning for account in settings.accounts]
        self._cleanup = CleanupBudget(max(one.shutdown_deadline_ms for one in tuning) / 1000)
        self._generation = 0
        self._connections = itertools.count(1)
        self._started_at_ms = adapters.now_ms()

    async def run(self, ready: Callable[[str, int], Awaitable[None]]) -> int:
        """Run until asked to leave; return the exit status.

        *ready* is called with host and port once proxies are accepted.

        Raises:
            JournalError, CannotListen, OSError: what kept the daemon from opening.
        """
        running = trio.CancelScope()
        coordinator = shutdown.Coordinator(
            self._boxes.shutdown.receiver(), self._cleanup, running, self._adapters
        )
        left_open = 0
        failed = False
        async with trio.open_nursery() as outer:
            await outer.start(
                coordinator.run,
                self._boxes.shutdown.tx,
                [account.connection.tx for account in self._accounts.values()],
                self._boxes.lanes.tx,
                self._boxes.ownership.tx,
            )
            outer.start_soon(self._claim.watch, self._boxes.shutdown.tx, self._cleanup.shorten)
            try:
                with running, self._adapters.monitored(self._seen_by_monitoring()):
                    async with open_service_nursery() as services:
                        await self._open_services(services)
                        try:
                            await self._serve(ready)
                        finally:
                            left_open = await shutdown.cards_left_open(self._boxes.journal.tx)  # noqa: ASYNC102  # it shields itself, with a deadline
            except* (RestartsExhausted, StartTimedOut) as ended:
                log.critical("daemon.failed", reason=str(ended.exceptions[0]))
                failed = True
            finally:
                state_dir.remove_daemon_info(self._state)
            outer.cancel_scope.cancel(reason="left")
        coordinator.left()
        self.signalled = coordinator.signalled
        if failed or left_open:
            log.warning("daemon.stopped", cards_left_open=left_open)
            return ExitStatus.FAILED
        log.info("daemon.stopped")
        return coordinator.exit_status or 0

    def _seen_by_monitoring(self) -> Peers:
        return monitoring_peers(
            self._accounts, self._boxes, self._adapters, self._next_connection_id
        )

    def _next_connection_id(self) -> ConnectionId:
        return ConnectionId(next(self._connections))

    async def _open_services(self, services: trio.Nursery) -> None:
        opened: journal.JournalOpened = await services.start(
            partial(
                journal.run,
                self._claim.open_store,
                self._boxes.journal.receiver(),
                run_sync=self._adapters.journal_worker(),
                after_batch=self._claim.after_batch,
                wait_given_up=self._claim.wait_given_up,
            )
        )
        self._generation = opened.generation
        for account in self._accounts.values():
            transport = self._adapters.http() if self._adapters.http is not None else None
            await services.start(
                partial(
                    gateway.run,
                    gateway_settings(account, self._claim, self._adapters),
                    account.gateway.receiver(),
                    monthly_count(account, self._boxes.journal.tx, self._adapters),
                    transport=transport,
                )
            )
        await services.start(
            pictures.run, pictures_settings(self._accounts), self._boxes.pictures.receiver()
        )

    async def _serve(self, ready: Callable[[str, int], Awaitable[None]]) -> None:
        listen = self._settings.listen
        listeners, port = await open_all(self._adapters.listen, listen)
        try:
            self._runs = Runs(self._resources())
            async with trio.open_nursery() as nursery:
                await nursery.start(self._core(listeners).run)
                self._write_daemon_info(listen.host, port)
                log.info("daemon.ready", host=listen.host, port=port, pid=os.getpid())
                await ready(listen.host, port)
        finally:
            for listener in listeners:
                await trio.aclose_forcefully(listener)

    def _resources(self) -> Resources:
        return Resources(
            settings=self._settings,
            state=self._state,
            tokens=self._tokens,
            adapters=self._adapters,
            claim=self._claim,
            boxes=self._boxes,
            accounts=self._accounts,
            cleanup=self._cleanup,
            rng=self._rng,
            generation=self._generation,
            started_at_ms=self._started_at_ms,
            next_connection_id=self._next_connection_id,
        )

    def _write_daemon_info(self, host: str, port: int) -> None:
        info = daemon_info(host, port, self._generation, self._started_at_ms, self._claim)
        with suppress(OSError):  # full disk: proxies can still be given the address
            state_dir.write_daemon_info(self._state, info)

    # ── the supervision tree ────────────────────────────────────────────────

    def _core(self, listeners: Listeners) -> Supervisor:
        return self._supervisor(
            [
                Child(
                    name="ownership",
                    run=self._runs.run_ownership,
                    start_within_s=limits.OWNERSHIP_START_WITHIN_S,
                ),
                Child(
                    name="lanes",
                    run=self._runs.run_lanes,
                    stop_within_s=self._cleanup.seconds + limits.LANES_MARGIN_S,
                ),
                Child(
                    name="edges",
                    run=lambda *, task_status: self._run_edges(listeners, task_status=task_status),
                    start_within_s=limits.EDGES_START_WITHIN_S,
                ),
            ],
            Strategy.REST_FOR_ONE,
            limits.CORE_BUDGET,
        )

    def _supervisor(
        self, children: list[Child], strategy: Strategy, budget: RestartBudget
    ) -> Supervisor:
        guarded = [self._adapters.guarded(child) for child in children]
        return Supervisor(guarded, strategy, budget, report=report, rng=self._rng)

    async def _run_edges(self, listeners: Listeners, *, task_status: trio.TaskStatus[None]) -> None:
        children = [
            Child(
                name="repair",
                run=self._runs.run_repair,
                restart=Restart.TEMPORARY,
            ),
            Child(
                name="approvals",
                run=self._runs.run_approvals,
                stop_within_s=self._cleanup.seconds + limits.LANES_MARGIN_S,
            ),
            Child(name="links", run=partial(self._runs.run_links, listeners)),
            Child(name="pruning", run=self._runs.run_pruning),
            Child(
                name="agents",
                run=self._runs.run_agents,
                stop_within_s=agents.END_WITHIN_S + limits.LANES_MARGIN_S,
            ),
        ]
        for account in self._accounts.values():
            children += self._account_children(account)
        edges = self._supervisor(children, Strategy.ONE_FOR_ONE, limits.EDGES_BUDGET)
        await edges.run(task_status=task_status)

    def _account_children(self, account: Account) -> list[Child]:
        name = account.settings.account_id
        return [
            Child(name=f"intake {name}", run=partial(self._runs.run_intake, account)),
            # It opens last, after the first repairs: what it brings meets all that the journal
            # still held.
            Child(
                name=f"connection {name}",
                run=partial(self._runs.run_connection, account),
                after=(f"intake {name}",),
            ),
        ]
