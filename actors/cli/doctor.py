"""``larkd doctor``: what is wrong and what to do, also where no daemon runs.

It asks the running daemon for its status, the platform for the bot, and the machine
for files, disk and clock. No secret is ever part of a finding.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import trio

from actors.cli import status
from actors.cli.app_set_up import open_elsewhere
from actors.cli.check import network_remedy
from actors.cli.doctor_certificates import examine_certificates
from actors.cli.operator import (
    NotRunning,
    StandsBy,
    Unavailable,
    nobody_serves,
    sandbox_beside,
)
from actors.cli.output import Output
from actors.cli.output import as_json as to_json
from actors.feishu.clock import clock_skew_s
from actors.feishu.gateway import describe
from actors.feishu.http import Platform
from actors.feishu.inspection import Inspection, connect_once, inspect
from actors.host import config_file, started, state_dir
from actors.host.advice import TRY_IT, command_for, is_of_the_sandbox, start_of
from actors.host.tokens import read_token
from actors.messages import gateway
from protocol import __version__
from protocol.config.doctor import (
    Finding,
    as_text,
    examine_clock,
    examine_descriptors,
    examine_disk,
    examine_status,
    fail,
    ok,
    warn,
)
from protocol.config.keys import FEISHU_URL, LARK_URL
from protocol.config.places import StateDir
from protocol.config.settings import AccountSettings, Settings
from protocol.errors import ConfigurationError
from protocol.platform.outcomes import BotInfo, CredentialsRefused, NoAnswer, Outcome
from protocol.platform.registration import grant_link
from protocol.wire.vocabulary import ROLES

ONLINE_WITHIN_S: Final = 15.0

DONE: Final = 0
FAILED: Final = 1


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Examine everything; the status is 1 where a check failed."""
    findings = examine(state, parsed.config, os.environ, time.time_ns() // 1_000_000)
    return report(findings, as_json=parsed.json, verbose=parsed.verbose)


def examine(
    state: StateDir, config: Path | None, env: Mapping[str, str], now_ms: int
) -> list[Finding]:
    """Return all findings; it takes a few seconds where the platform is slow.

    It looks at the daemon that runs, and at the configuration that one was started with.
    """
    serving = state_dir.serving_pid(state) is not None
    read = _configuration(state, config, env, serving=serving)
    configured = all(one.state != "fail" for one in read.findings)
    findings = [*_files(state), *_daemon(state, now_ms, configured=configured), *read.findings]
    settings = read.settings
    if settings is None:
        return findings
    findings += _agents(settings)
    findings += examine_certificates(settings, now_ms)
    if settings.cluster is not None:
        from actors.cli.doctor_cluster import examine_cluster  # noqa: PLC0415  # needs larkd[postgres]

        findings += examine_cluster(settings.cluster, __version__)
    new_app = command_for(state, "init", config=read.path)
    return findings + trio.run(_online, settings, serving, new_app)


class _Read(NamedTuple):
    """The configuration of a daemon, as far as it can be looked at from here."""

    findings: list[Finding]
    settings: Settings | None = None
    path: Path | None = None


def _configuration(
    state: StateDir, config: Path | None, env: Mapping[str, str], *, serving: bool
) -> _Read:
    if serving and config is None and is_of_the_sandbox(state, env):
        return _Read([ok("configuration", "the sandbox has its own")])
    try:
        path = config or (started.configuration_in_use(state) if serving else None)
        path = path or config_file.find(None, env, Path.home())
        if path is None and env.get("LARKD_ADDRESS"):
            return _Read([ok("configuration", "is where the daemon of LARKD_ADDRESS runs")])
        raw = config_file.load(path) if path is not None else {}
        settings = config_file.settings(raw, env, path)
    except ConfigurationError as wrong:
        if serving:
            # The daemon has read it, with an environment of its own.
            what = f"can't be read here as the daemon read it: {wrong.problems[0]}"
            remedy = "run this with the daemon's environment, or name its file with --config"
            return _Read([warn("configuration", what, remedy)])
        begin = command_for(state, "init", config=config)
        remedy = f"change it as shown, name another one with --config, or begin with: {begin}"
        return _Read([fail("configuration", problem, remedy) for problem in wrong.problems])
    well_formed = ok("configuration", f"{path or 'the environment'} is well formed")
    return _Read([well_formed], settings, path)


def _agents(settings: Settings) -> Iterator[Finding]:
    for name, agent in settings.agents.items():
        program = agent.command[0]
        if shutil.which(Path(program).expanduser()) is None:
            yield fail(
                f"agent {name}",
                f"its command {program} is not on this PATH",
                f"install it, or write its absolute path into [agents.{name}] command",
            )
        elif agent.cwd is not None and not Path(agent.cwd).expanduser().is_dir():
            yield fail(
                f"agent {name}",
                f"its cwd {agent.cwd} is no directory",
                f"make it, or name another one in [agents.{name}] cwd",
            )
        else:
            yield ok(f"agent {name}", f"{program} is there")


def report(findings: list[Finding], *, as_json: bool, verbose: bool) -> Output:
    """Return what to print, and the exit status: 1 where a check failed."""
    exit_status = FAILED if any(one.state == "fail" for one in findings) else DONE
    if as_json:
        listed = msgspec.to_builtins(findings)
        return Output(to_json({"findings": listed}), exit_status)
    return Output(as_text(findings, verbose=verbose), exit_status)


# ── files ───────────────────────────────────────────────────────────────────


def _files(state: StateDir) -> Iterator[Finding]:
    if not state.root.is_dir():
        return  # the daemon makes it: that none ever ran is the finding
    mode = stat.S_IMODE(state.root.stat().st_mode)
    if mode & 0o077:
        yield warn("state", f"others may look into {state.root}", f"chmod 700 {state.root}")
    else:
        yield ok("state", f"{state.root} is private")
    # The first start makes journal and tokens.
    for role in ROLES if _ever_started(state) else ():
        try:
            read_token(state.token(role))
        except ConfigurationError as wrong:
            yield fail(
                f"token {role}", str(wrong), f"start larkd again after that: {start_of(state)}"
            )
        else:
            yield ok(f"token {role}", "is there, and private")
    yield examine_disk(shutil.disk_usage(state.root).free)
    yield examine_descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def _ever_started(state: StateDir) -> bool:
    return state.tokens.exists() or state.database.exists()


def _daemon(state: StateDir, now_ms: int, *, configured: bool) -> Iterator[Finding]:
    """Examine the daemon that runs; where none does, whether it can be started is *configured*."""
    try:
        found = status.fetch(state)
    except StandsBy as standby:
        yield ok("daemon", str(standby))
        return
    except NotRunning:
        yield fail("daemon", nobody_serves(state), _beginning(state, configured=configured))
        return
    except (Unavailable, ConfigurationError) as why:
        yield fail("daemon", str(why), f"if it ended by itself, the reason is in {state.log}")
        return
    reclaim = command_for(state, "handoff", "reclaim")
    yield from examine_status(found, __version__, now_ms, reclaim)


def _beginning(state: StateDir, *, configured: bool) -> str:
    """Return what makes a daemon serve *state*, which none does."""
    begin = f"start it: {start_of(state)}"
    if not (configured or _ever_started(state)):
        begin = f"set it up: {command_for(state, 'init')}; or try it without an app: {TRY_IT}"
    if other := sandbox_beside(state):
        begin = f"{begin}; {other}"
    if state.log.exists():
        return f"{begin}; if it ended by itself, the reason is in {state.log}"
    return begin


# ── the platform ────────────────────────────────────────────────────────────


async def _online(settings: Settings, serving: bool, new_app: str) -> list[Finding]:
    found: dict[int, list[Finding]] = {}
    async with trio.open_nursery() as nursery:
        for at, account in enumerate(settings.accounts):
            nursery.start_soon(_account, account, serving, new_app, partial(found.setdefault, at))
    return [finding for at in sorted(found) for finding in found[at]]


async def _account(
    account: AccountSettings,
    serving: bool,
    new_app: str,
    done: Callable[[list[Finding]], object],
) -> None:
    name = account.account_id
    seen = Inspection(bot=NoAnswer(reason=f"no answer in {ONLINE_WITHIN_S:g} s"))
    skew_s: float | None = None
    other: str | None = None
    link: Finding | None = None
    with trio.move_on_after(ONLINE_WITHIN_S):
        async with Platform(
            account.base_url, account.app_id, account.app_secret.reveal()
        ) as platform:
            seen = await inspect(platform)
            if isinstance(seen.bot, BotInfo) and not serving:
                # The connection of a daemon that runs is in its status.
                problem = await connect_once(platform)
                link = _long_connection(f"connection {name}", account, problem)
        skew_s = await clock_skew_s(account.base_url)
        if isinstance(seen.bot, CredentialsRefused):
            other = await _other_domain(account)
    findings = [_credentials(f"credentials {name}", account, seen.bot, other)]
    if isinstance(seen.bot, BotInfo):
        findings += _scopes(f"scopes {name}", account, seen)
        findings += _connections(f"connections {name}", seen.connections, serving, new_app)
    if link is not None:
        findings.append(link)
    done([*findings, examine_clock(f"clock {name}", skew_s)])


async def _other_domain(account: AccountSettings) -> str | None:
    """Return the domain that does take the credentials, where it is Feishu for Lark or back."""
    others = {FEISHU_URL: ("lark", LARK_URL), LARK_URL: ("feishu", FEISHU_URL)}
    if account.base_url not in others:
        return None
    name, url = others[account.base_url]
    async with Platform(url, account.app_id, account.app_secret.reveal()) as platform:
        taken = await platform.perform(gateway.GetBotInfo())
    return name if isinstance(taken, BotInfo) else None


def _credentials(
    check: str, account: AccountSettings, bot: Outcome, other_domain: str | None
) -> Finding:
    match bot:
        case BotInfo(name=name, open_id=open_id):
            return ok(check, f"{account.app_id} is the bot {name} ({open_id})")
        case CredentialsRefused() if other_domain is not None:
            return fail(
                check,
                f"{account.base_url} refuses {account.app_id}; {other_domain} takes it",
                f'write domain = "{other_domain}"',
            )
        case CredentialsRefused():
            return fail(
                check,
                f"{account.base_url} refuses {account.app_id}: {describe(bot)}",
                "check appId, appSecret and domain, and that the app is enabled",
            )
        case NoAnswer():
            return fail(
                check,
                f"{account.base_url}: {describe(bot)}",
                f"{network_remedy(account.base_url)}; is domain right?",
            )
    return fail(
        check,
        f"{account.base_url} does not name the bot of {account.app_id}: {describe(bot)}",
        "look at domain, and at the bot ability of the app",
    )


def _scopes(check: str, account: AccountSettings, seen: Inspection) -> Iterator[Finding]:
    if seen.missing:
        page = grant_link(account.base_url, account.app_id, seen.missing)
        yield fail(
            check,
            f"missing: {', '.join(seen.missing)}",
            f"grant it here, and publish a version: {page}",
        )
    if seen.unknown:
        page = grant_link(account.base_url, account.app_id, seen.unknown)
        yield warn(
            check,
            f"not known whether granted: {', '.join(seen.unknown)}",
            f"write to the bot, alone and in a group; if nothing comes: {page}",
        )
    if not (seen.missing or seen.unknown):
        yield ok(check, "every scope larkd needs is granted")


def _long_connection(check: str, account: AccountSettings, problem: str | None) -> Finding:
    if problem is None:
        return ok(check, "the long connection opens")
    remedy = network_remedy(account.base_url)
    return fail(check, f"the long connection does not open: {problem}", remedy)


def _connections(check: str, count: int | None, serving: bool, new_app: str) -> Iterator[Finding]:
    """Each event goes to one connection of an app: others take messages away."""
    if count is None:
        return
    others = count - 1 if serving else count
    if others > 0:
        yield warn(
            check,
            f"{open_elsewhere(others)}; each event goes to one of them",
            f"stop the other programs that use this app, or make an app of its own: {new_app}",
        )
    else:
        yield ok(check, "no other program is connected as this app")
