"""What each actor is given: its settings, and the mailboxes of its peers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import trio

from actors import agents, approvals, intake, links, monitoring, outbound, turns
from actors.app.adapters import Adapters
from actors.app.claims import Claim
from actors.app.mailboxes import Account, Mailboxes
from actors.feishu import gateway as calling
from actors.feishu import pictures as fetching
from actors.feishu.monthly import MonthlyCount
from actors.host.started import configuration_in_use
from actors.kit.cleanup import CleanupBudget
from actors.lanes.settings import LaneSettings
from actors.messages import journal
from actors.turns.peers import GrantNotices
from protocol import __version__
from protocol.config.places import DaemonInfo, StateDir
from protocol.config.settings import Secret, Settings, Tuning
from protocol.ids import AccountId, ConnectionId
from protocol.platform.api_budget import PER_MINUTE, PER_SECOND, Limits
from protocol.routing.pairing import mint_code

AccountsById = Mapping[AccountId, Account]


def daemon_info(
    host: str, port: int, generation: int, started_at_ms: int, claim: Claim
) -> DaemonInfo:
    return DaemonInfo(
        host=host,
        port=port,
        pid=os.getpid(),
        version=__version__,
        generation=generation,
        started_at=started_at_ms,
        cluster=claim.cluster,
        node=claim.node,
        addresses=list(claim.addresses),
    )


def turn_peers(
    settings: Settings,
    accounts: AccountsById,
    boxes: Mailboxes,
    cleanup: CleanupBudget,
    adapters: Adapters,
) -> turns.Peers:
    cooldowns = [one.tuning.permission_notify_cooldown_ms for one in settings.accounts]
    return turns.Peers(
        gateways={name: one.gateway.tx for name, one in accounts.items()},
        intakes={name: one.intake.tx for name, one in accounts.items()},
        journal_tx=boxes.journal.tx,
        ownership_tx=boxes.ownership.tx,
        pictures_tx=boxes.pictures.tx,
        picture_wait_s=max(one.tuning.image_resolve_timeout_ms for one in settings.accounts) / 1000,
        cleanup=cleanup,
        language=settings.language,
        now_ms=adapters.now_ms,
        grants=GrantNotices(cooldown_ms=max(cooldowns)),
        stall_notice_s={
            one.account_id: one.tuning.stall_notice_ms / 1000 for one in settings.accounts
        },
    )


def approvals_peers(
    accounts: AccountsById, boxes: Mailboxes, cleanup: CleanupBudget, adapters: Adapters
) -> approvals.Peers:
    return approvals.Peers(
        gateways={name: one.gateway.tx for name, one in accounts.items()},
        journal_tx=boxes.journal.tx,
        intakes=tuple(one.intake.tx for one in accounts.values()),
        own_tx=boxes.approvals.tx,
        cleanup=cleanup,
        random_bytes=adapters.random_bytes,
        now_ms=adapters.now_ms,
    )


def agents_settings(
    settings: Settings, state: StateDir, adapters: Adapters, notices: outbound.Notices
) -> agents.AgentsSettings:
    return agents.AgentsSettings(
        commands=settings.agents,
        per_person=settings.agents_per_person,
        state_dir=state.root,
        run_agent=adapters.run_agent,
        notify=notices.notify,
    )


def intake_settings(
    settings: Settings, account: Account, state: StateDir, adapters: Adapters
) -> intake.IntakeSettings:
    return intake.IntakeSettings(
        account=account.settings.account_id,
        policy=account.settings.policy,
        language=settings.language,
        session_reply_mode=settings.reply_mode,
        agents=tuple(settings.agents),
        attachments=state.attachments,
        mint_code=lambda: mint_code(adapters.below),
        topic_sessions=account.settings.topic_sessions,
        topic_agent=account.settings.topic_agent,
    )


def lane_settings(settings: Settings, accounts: AccountsById, adapters: Adapters) -> LaneSettings:
    deadlines = [account.tuning.cancel_deadline_ms for account in settings.accounts]
    return LaneSettings(
        reply_modes={name: account.settings.reply_mode for name, account in accounts.items()},
        group_reply_modes={
            name: account.settings.group_reply_mode
            for name, account in accounts.items()
            if account.settings.group_reply_mode is not None
        },
        session_reply_mode=settings.reply_mode,
        cancel_deadline_s=max(deadlines) / 1000,
        random_bytes=adapters.random_bytes,
    )


def gateway_settings(account: Account, claim: Claim, adapters: Adapters) -> calling.GatewaySettings:
    settings = account.settings
    return calling.GatewaySettings(
        account=settings.account_id,
        base_url=settings.base_url,
        app_id=settings.app_id,
        app_secret=settings.app_secret.reveal(),
        monthly_calls=settings.tuning.monthly_call_budget,
        limits=api_limits(settings.tuning),
        fresh=claim.freshness,
        in_thread=adapters.in_thread,
        careful=claim.careful,
    )


def api_limits(tuning: Tuning) -> Limits:
    """Return what the platform grants this app; nothing is named for an ordinary one."""
    return Limits(
        per_minute=tuning.api_per_minute or PER_MINUTE,
        per_second=tuning.api_per_second or PER_SECOND,
        probe=tuning.probe_limits,
    )


def monitoring_peers(
    accounts: AccountsById,
    boxes: Mailboxes,
    adapters: Adapters,
    next_connection_id: Callable[[], ConnectionId],
) -> monitoring.Peers:
    return monitoring.Peers(
        journal_tx=boxes.journal.tx,
        ownership_tx=boxes.ownership.tx,
        lanes_tx=boxes.lanes.tx,
        approvals_tx=boxes.approvals.tx,
        gateways={name: one.gateway.tx for name, one in accounts.items()},
        next_connection_id=next_connection_id,
        now_ms=adapters.now_ms,
    )


def monthly_count(
    account: Account,
    journal_tx: trio.MemorySendChannel[journal.JournalMessage],
    adapters: Adapters,
) -> MonthlyCount | None:
    if account.settings.tuning.monthly_call_budget is None:
        return None
    return MonthlyCount(account.settings.account_id, journal_tx, adapters.now_ms)


def pictures_settings(accounts: AccountsById) -> fetching.PicturesSettings:
    return fetching.PicturesSettings(
        gateways={name: one.gateway.tx for name, one in accounts.items()},
        bytes_max={name: one.settings.tuning.image_max_bytes for name, one in accounts.items()},
    )


def outbound_peers(
    accounts: AccountsById,
    boxes: Mailboxes,
    adapters: Adapters,
    settings: Settings,
    state: StateDir,
) -> outbound.Peers:
    return outbound.Peers(
        gateways={name: one.gateway.tx for name, one in accounts.items()},
        journal_tx=boxes.journal.tx,
        ownership_tx=boxes.ownership.tx,
        policies={name: one.settings.policy for name, one in accounts.items()},
        private=lambda: _private(settings, state),
        secrets=tuple(one.reveal().encode() for one in _secrets(settings)),
        random_bytes=adapters.random_bytes,
        now_ms=adapters.now_ms,
    )


def link_tools(
    accounts: AccountsById,
    boxes: Mailboxes,
    sending: outbound.Peers,
    attachments: outbound.Attachments,
    looking: monitoring.Peers,
) -> links.Tools:
    """Return the tools beside the channel's own: of operators, and of sessions."""
    return links.Tools(
        own_turns=links.OwnTurnPeers(journal_tx=boxes.journal.tx, lanes_tx=boxes.lanes.tx),
        of_operators=intake.operator_tools({name: one.intake.tx for name, one in accounts.items()}),
        of_onlookers=monitoring.onlookers_tools(looking),
        of_sessions=outbound.session_tools(sending, attachments),
    )


def _private(settings: Settings, state: StateDir) -> tuple[Path, ...]:
    """Real paths of which nothing is ever sent to a chat, as they are now."""
    served = (settings.listen, settings.metrics, settings.console)
    keys = [Path(one.tls.key_file) for one in served if one is not None and one.tls is not None]
    found = (state.root, configuration_in_use(state), *keys)
    return tuple(one.resolve() for one in found if one is not None)


def _secrets(settings: Settings) -> Iterator[Secret]:
    yield from (one.app_secret for one in settings.accounts)
    if settings.cluster is not None:
        yield settings.cluster.database
