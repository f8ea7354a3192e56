"""One run of each child of the tree: what it is given, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import msgspec
import structlog
import trio

from actors import agents, approvals, connection, intake, lanes, links, outbound, ownership, turns
from actors.app import limits
from actors.app.adapters import Adapters
from actors.app.claims import Claim
from actors.app.listening import Listeners
from actors.app.mailboxes import Account, Mailboxes
from actors.app.peers import (
    agents_settings,
    approvals_peers,
    intake_settings,
    lane_settings,
    link_tools,
    monitoring_peers,
    outbound_peers,
    turn_peers,
)
from actors.host.exit_status import ExitStatus
from actors.host.tokens import TokenFiles
from actors.journal import pruning
from actors.kit.cleanup import CleanupBudget
from actors.kit.mailbox import offer
from actors.messages import connection as to_connection
from actors.messages import intake as to_intake
from actors.messages import lane as to_lane
from actors.messages import shutdown as to_shutdown
from protocol import __version__
from protocol.config.places import StateDir
from protocol.config.settings import Settings
from protocol.ids import AccountId, ConnectionId, SessionId

log = structlog.get_logger()


class Resources(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the composition has opened when the tree starts."""

    settings: Settings
    state: StateDir
    tokens: TokenFiles
    adapters: Adapters
    claim: Claim
    boxes: Mailboxes
    accounts: Mapping[AccountId, Account]
    cleanup: CleanupBudget
    rng: random.Random
    generation: int
    started_at_ms: int
    next_connection_id: Callable[[], ConnectionId]


class Runs:
    """``run_…`` is one run of one child; a restart calls it again."""

    def __init__(self, resources: Resources) -> None:
        self._of = resources
        turns_peers = turn_peers(
            resources.settings,
            resources.accounts,
            resources.boxes,
            resources.cleanup,
            resources.adapters,
        )
        self._turns = msgspec.structs.replace(
            turns_peers,
            term=resources.generation,
            may_be_followed=resources.claim.freshness is not None,
        )
        self._outbound = outbound_peers(
            resources.accounts,
            resources.boxes,
            resources.adapters,
            resources.settings,
            resources.state,
        )
        self._notices = outbound.Notices(self._outbound, resources.settings.language)
        self._attachments = outbound.Attachments(self._outbound, resources.state.attachments)
        self._refused: set[AccountId] = set()
        self._first_repairs = trio.Event()

    async def run_repair(self, *, task_status: trio.TaskStatus[None]) -> None:
        await turns.repair_cards(
            self._turns, first_pass=self._first_repairs, task_status=task_status
        )

    async def run_links(self, listeners: Listeners, *, task_status: trio.TaskStatus[None]) -> None:
        looking = monitoring_peers(
            self._of.accounts, self._of.boxes, self._of.adapters, self._of.next_connection_id
        )
        settings = links.LinkSettings(
            daemon_version=__version__,
            generation=self._of.generation,
            verify=self._of.tokens.verify,
            next_connection_id=self._of.next_connection_id,
            approvals_tx=self._of.boxes.approvals.tx,
            tools=link_tools(
                self._of.accounts, self._of.boxes, self._outbound, self._attachments, looking
            ),
            notify=self._notices.notify,
            random_bytes=self._of.adapters.random_bytes,
            cluster=self._of.claim.cluster,
            node=self._of.claim.node,
            successor=self._of.claim.successor,
        )
        await links.serve(listeners, settings, self._of.boxes.ownership.tx, task_status=task_status)

    async def run_ownership(self, *, task_status: trio.TaskStatus[None]) -> None:
        await ownership.run(
            ownership.OwnershipSettings(
                daemon_version=__version__,
                generation=self._of.generation,
                started_at_ms=self._of.started_at_ms,
                claim=self._of.claim.status,
            ),
            self._of.boxes.ownership.receiver(),
            self._of.boxes.journal.tx,
            self._of.boxes.lanes.tx,
            now_ms=self._of.adapters.now_ms,
            task_status=task_status,
        )

    async def run_lanes(self, *, task_status: trio.TaskStatus[None]) -> None:
        settings = lane_settings(self._of.settings, self._of.accounts, self._of.adapters)
        peers = lanes.Peers(
            ownership_tx=self._of.boxes.ownership.tx,
            show_turn=lambda opening, inbox, own: turns.show_turn(opening, inbox, own, self._turns),
            finish_crashed=lambda opening: turns.finish_crashed(opening, self._turns),
            mark=lambda given: turns.show_given(given, self._turns, self._of.cleanup),
            complete=self._attachments.complete,
        )

        async def run_lane(
            session_id: SessionId,
            inbox: trio.MemoryReceiveChannel[to_lane.LaneMessage],
            own: trio.MemorySendChannel[to_lane.LaneMessage],
            retire: Callable[[], None],
        ) -> None:
            with self._of.adapters.guard(f"lane {session_id}"):
                await lanes.Lane(session_id, settings, peers, own, retire).serve(inbox)

        await lanes.run(self._of.boxes.lanes.receiver(), run_lane, task_status=task_status)

    async def run_approvals(self, *, task_status: trio.TaskStatus[None]) -> None:
        of = self._of
        peers = approvals_peers(of.accounts, of.boxes, of.cleanup, of.adapters)
        await approvals.run(peers, of.boxes.approvals.receiver(), task_status=task_status)

    async def run_agents(self, *, task_status: trio.TaskStatus[None]) -> None:
        await agents.run(
            agents_settings(self._of.settings, self._of.state, self._of.adapters, self._notices),
            self._of.boxes.agents.receiver(),
            self._of.boxes.ownership.tx,
            rng=self._of.rng,
            task_status=task_status,
        )

    async def run_pruning(self, *, task_status: trio.TaskStatus[None]) -> None:
        await pruning.run(
            self._of.boxes.journal.tx,
            self._of.state.attachments,
            now_ms=self._of.adapters.now_ms,
            in_thread=self._of.adapters.in_thread,
            task_status=task_status,
        )

    async def run_intake(self, account: Account, *, task_status: trio.TaskStatus[None]) -> None:
        await intake.run(
            intake_settings(self._of.settings, account, self._of.state, self._of.adapters),
            account.intake.receiver(),
            intake.Peers(
                account=account.settings.account_id,
                intake_tx=account.intake.tx,
                intakes={name: one.intake.tx for name, one in self._of.accounts.items()},
                journal_tx=self._of.boxes.journal.tx,
                ownership_tx=self._of.boxes.ownership.tx,
                lanes_tx=self._of.boxes.lanes.tx,
                gateway_tx=account.gateway.tx,
                approvals_tx=self._of.boxes.approvals.tx,
                agents_tx=self._of.boxes.agents.tx,
            ),
            now_ms=self._of.adapters.now_ms,
            rng=self._of.rng,
            task_status=task_status,
        )

    async def run_connection(self, account: Account, *, task_status: trio.TaskStatus[None]) -> None:
        name = account.settings.account_id
        # A connection that crashed may have committed events it did not bring to intake.
        offer(account.intake.tx, to_intake.Recover())
        try:
            await connection.run(
                connection.ConnectionSettings(
                    account=name,
                    dial=self._of.adapters.dial,
                    fresh=self._of.claim.freshness,
                    opens_after=self._first_repairs.wait,
                    more_links=connection.MORE_LINKS if self._of.claim.by_silence else 0,
                ),
                account.connection.receiver(),
                connection.Peers(
                    gateway=account.gateway.tx,
                    journal=self._of.boxes.journal.tx,
                    intake=account.intake.tx,
                    ownership=self._of.boxes.ownership.tx,
                ),
                rng=self._of.rng,
                now_ms=self._of.adapters.now_ms,
                task_status=task_status,
            )
        except to_connection.CredentialsRefusedError as refused:
            log.critical("feishu.credentials_refused", account=name, reason=str(refused))
            if name in self._refused:
                await trio.sleep(limits.REFUSED_AGAIN_S)
                return
            self._refused.add(name)
            request = to_shutdown.Leave(exit_status=ExitStatus.CREDENTIALS, reason=str(refused))
            offer(self._of.boxes.shutdown.tx, request)
            await trio.sleep_forever()
