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

import msgspec
import structlog
import trio
from tricycle import open_service_nursery

from actors import agents, approvals, connection, intake, journal, lanes, links, ownership, turns
from actors.app import limits, shutdown
from actors.app.adapters import Adapters, Listeners
from actors.app.claims import Alone, Claim
from actors.app.listening import open_all
from actors.app.mailboxes import Account, Mailboxes, accounts_of
from actors.app.peers import (
    agents_settings,
    approvals_peers,
    daemon_info,
    gateway_settings,
    intake_settings,
    lane_settings,
    link_tools,
    monitoring_peers,
    monthly_count,
    pictures_settings,
    turn_peers,
)
from actors.app.reporting import report
from actors.feishu import gateway, pictures
from actors.host import state_dir
from actors.host.exit_status import ExitStatus
from actors.host.tokens import TokenFiles
from actors.journal import pruning
from actors.kit.cleanup import CleanupBudget
from actors.kit.mailbox import offer
from actors.kit.supervisor import (
    Budget,
    Child,
    Restart,
    RestartsExhausted,
    StartTimedOut,
    Strategy,
    Supervisor,
)
from actors.messages import connection as to_connection
from actors.messages import intake as to_intake
from actors.messages import lane as to_lane
from actors.messages import shutdown as to_shutdown
from actors.monitoring import Peers
from protocol import __version__
from protocol.config.places import StateDir
from protocol.config.settings import Settings
from protocol.ids import AccountId, ConnectionId, SessionId

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
        self._turns = turn_peers(settings, self._accounts, self._boxes, self._cleanup, adapters)
        self._refused: set[AccountId] = set()
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
        opened: journal.Opened = await services.start(
            partial(
                journal.run,
                self._claim.open_store,
                self._boxes.journal.receiver(),
                run_sync=self._adapters.journal_worker(),
                after_batch=self._claim.after_batch,
            )
        )
        self._generation = opened.generation
        self._turns = msgspec.structs.replace(self._turns, term=opened.generation)
        for account in self._accounts.values():
            transport = self._adapters.http() if self._adapters.http is not None else None
            await services.start(
                partial(
                    gateway.run,
                    gateway_settings(account, self._claim),
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
            async with trio.open_nursery() as nursery:
                await nursery.start(self._core(listeners).run)
                self._write_daemon_info(listen.host, port)
                log.info("daemon.ready", host=listen.host, port=port, pid=os.getpid())
                await ready(listen.host, port)
        finally:
            for listener in listeners:
                await trio.aclose_forcefully(listener)

    def _write_daemon_info(self, host: str, port: int) -> None:
        info = daemon_info(host, port, self._generation, self._started_at_ms, self._claim)
        with suppress(OSError):  # full disk: proxies can still be told the address
            state_dir.write_daemon_info(self._state, info)

    # ── the supervision tree ────────────────────────────────────────────────

    def _core(self, listeners: Listeners) -> Supervisor:
        return self._supervisor(
            [
                Child(
                    name="ownership",
                    run=self._run_ownership,
                    start_within_s=limits.OWNERSHIP_START_WITHIN_S,
                ),
                Child(
                    name="lanes",
                    run=self._run_lanes,
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

    def _supervisor(self, children: list[Child], strategy: Strategy, budget: Budget) -> Supervisor:
        guarded = [self._adapters.guarded(child) for child in children]
        return Supervisor(guarded, strategy, budget, report=report, rng=self._rng)

    async def _run_edges(self, listeners: Listeners, *, task_status: trio.TaskStatus[None]) -> None:
        async def run_links(*, task_status: trio.TaskStatus[None]) -> None:
            settings = links.LinkSettings(
                daemon_version=__version__,
                generation=self._generation,
                verify=self._tokens.verify,
                next_connection_id=self._next_connection_id,
                approvals_tx=self._boxes.approvals.tx,
                tools=link_tools(
                    self._accounts, self._boxes, self._adapters, self._settings, self._state
                ),
                random_bytes=self._adapters.random_bytes,
                cluster=self._claim.cluster,
                node=self._claim.node,
                successor=self._claim.successor,
            )
            await links.serve(
                listeners, settings, self._boxes.ownership.tx, task_status=task_status
            )

        children = [
            Child(
                name="repair",
                run=partial(turns.repair_cards, self._turns),
                restart=Restart.TEMPORARY,
            ),
            Child(
                name="approvals",
                run=self._run_approvals,
                stop_within_s=self._cleanup.seconds + limits.LANES_MARGIN_S,
            ),
            Child(name="links", run=run_links),
            Child(name="pruning", run=self._run_pruning),
            Child(
                name="agents",
                run=self._run_agents,
                stop_within_s=agents.END_WITHIN_S + limits.LANES_MARGIN_S,
            ),
        ]
        for account in self._accounts.values():
            children += self._account_children(account)
        edges = self._supervisor(children, Strategy.ONE_FOR_ONE, limits.EDGES_BUDGET)
        await edges.run(task_status=task_status)

    def _account_children(self, account: Account) -> list[Child]:
        async def run_intake(*, task_status: trio.TaskStatus[None]) -> None:
            await self._run_intake(account, task_status=task_status)

        async def run_connection(*, task_status: trio.TaskStatus[None]) -> None:
            await self._run_connection(account, task_status=task_status)

        name = account.settings.account_id
        return [
            Child(name=f"intake {name}", run=run_intake),
            # It opens last: what it brings meets all that the journal still held.
            Child(
                name=f"connection {name}",
                run=run_connection,
                after=("repair", f"intake {name}"),
            ),
        ]

    # ── one run of each ────────────────────────────────────────────────────

    async def _run_ownership(self, *, task_status: trio.TaskStatus[None]) -> None:
        await ownership.run(
            ownership.OwnershipSettings(
                daemon_version=__version__,
                generation=self._generation,
                started_at_ms=self._started_at_ms,
                claim=self._claim.status,
            ),
            self._boxes.ownership.receiver(),
            self._boxes.journal.tx,
            self._boxes.lanes.tx,
            now_ms=self._adapters.now_ms,
            task_status=task_status,
        )

    async def _run_lanes(self, *, task_status: trio.TaskStatus[None]) -> None:
        settings = lane_settings(self._settings, self._accounts, self._adapters)
        peers = lanes.Peers(
            ownership_tx=self._boxes.ownership.tx,
            show_turn=lambda opening, inbox, own: turns.show_turn(opening, inbox, own, self._turns),
            finish_crashed=lambda opening: turns.finish_crashed(opening, self._turns),
            mark=lambda given: turns.show_given(given, self._turns, self._cleanup),
        )

        async def run_lane(
            session_id: SessionId,
            inbox: trio.MemoryReceiveChannel[to_lane.LaneMessage],
            own: trio.MemorySendChannel[to_lane.LaneMessage],
            retire: Callable[[], None],
        ) -> None:
            with self._adapters.guard(f"lane {session_id}"):
                await lanes.Lane(session_id, settings, peers, own, retire).serve(inbox)

        await lanes.run(self._boxes.lanes.receiver(), run_lane, task_status=task_status)

    async def _run_approvals(self, *, task_status: trio.TaskStatus[None]) -> None:
        context = approvals_peers(self._accounts, self._boxes, self._cleanup, self._adapters)
        await approvals.run(context, self._boxes.approvals.receiver(), task_status=task_status)

    async def _run_agents(self, *, task_status: trio.TaskStatus[None]) -> None:
        settings = agents_settings(self._settings, self._state, self._adapters)
        run = partial(agents.run, settings, self._boxes.agents.receiver(), self._boxes.ownership.tx)
        await run(rng=self._rng, task_status=task_status)

    async def _run_pruning(self, *, task_status: trio.TaskStatus[None]) -> None:
        await pruning.run(
            self._boxes.journal.tx,
            self._state.attachments,
            now_ms=self._adapters.now_ms,
            in_thread=self._adapters.in_thread,
            task_status=task_status,
        )

    async def _run_intake(self, account: Account, *, task_status: trio.TaskStatus[None]) -> None:
        await intake.run(
            intake_settings(self._settings, account, self._state, self._adapters),
            account.intake.receiver(),
            intake.Peers(
                account=account.settings.account_id,
                intake_tx=account.intake.tx,
                journal_tx=self._boxes.journal.tx,
                ownership_tx=self._boxes.ownership.tx,
                lanes_tx=self._boxes.lanes.tx,
                gateway_tx=account.gateway.tx,
                approvals_tx=self._boxes.approvals.tx,
                agents_tx=self._boxes.agents.tx,
            ),
            now_ms=self._adapters.now_ms,
            rng=self._rng,
            task_status=task_status,
        )

    async def _run_connection(
        self, account: Account, *, task_status: trio.TaskStatus[None]
    ) -> None:
        name = account.settings.account_id
        # A connection that crashed may have committed events it did not bring to intake.
        offer(account.intake.tx, to_intake.Recover())
        try:
            await connection.run(
                connection.ConnectionSettings(
                    account=name,
                    dial=self._adapters.dial,
                    fresh=self._claim.freshness,
                    more_links=connection.MORE_LINKS if self._claim.by_silence else 0,
                ),
                account.connection.receiver(),
                connection.Peers(
                    gateway=account.gateway.tx,
                    journal=self._boxes.journal.tx,
                    intake=account.intake.tx,
                    ownership=self._boxes.ownership.tx,
                ),
                rng=self._rng,
                now_ms=self._adapters.now_ms,
                task_status=task_status,
            )
        except to_connection.CredentialsRefusedError as refused:
            log.critical("feishu.credentials_refused", account=name, reason=str(refused))
            if name in self._refused:
                await trio.sleep(limits.REFUSED_AGAIN_S)
                return
            self._refused.add(name)
            request = to_shutdown.Leave(exit_status=ExitStatus.CREDENTIALS, reason=str(refused))
            offer(self._boxes.shutdown.tx, request)
            await trio.sleep_forever()
