"""``larkd doctor``: what is wrong and what to do, also where no daemon runs.

It asks the running daemon for its status, the platform for the bot, and the machine
for files, disk and clock. No secret is ever part of a finding.
"""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import trio

from actors.cli import status
from actors.cli.operator import Unavailable
from actors.cli.output import Output
from actors.cli.output import as_json as to_json
from actors.feishu.clock import clock_skew_s
from actors.feishu.gateway import describe
from actors.feishu.http import Platform
from actors.host import config_file
from actors.host.advice import command_for
from actors.host.tokens import read_token
from actors.messages import gateway
from protocol import __version__
from protocol.config.doctor import (
    Finding,
    as_text,
    examine_clock,
    examine_disk,
    examine_status,
    fail,
    ok,
    warn,
)
from protocol.config.places import StateDir
from protocol.config.settings import AccountSettings, ConfigurationError, Settings
from protocol.ids import MessageId
from protocol.platform.outcomes import BotInfo, CredentialsRefused, MissingScope, NoAnswer, Outcome
from protocol.wire.messages import ROLES

ONLINE_WITHIN_S: Final = 15.0
_NO_MESSAGE: Final = MessageId("om_00000000000000000000000000000000")
_EMPTY_CARD: Final = '{"schema":"2.0","body":{"elements":[]}}'

DONE: Final = 0
FAILED: Final = 1


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Examine everything; the status is 1 where a check failed."""
    findings = examine(state, parsed.config, os.environ, time.time_ns() // 1_000_000)
    return report(findings, as_json=parsed.json, verbose=parsed.verbose)


def examine(
    state: StateDir, config: Path | None, env: Mapping[str, str], now_ms: int
) -> list[Finding]:
    """Return all findings; it takes a few seconds where the platform is slow."""
    findings = [*_files(state), *_daemon(state, now_ms)]
    try:
        path = config_file.find(config, env, Path.home())
        raw = config_file.load(path) if path is not None else {}
        settings = config_file.settings(raw, env, path)
    except ConfigurationError as wrong:
        remedy = "change it as said, or name another one with --config"
        return findings + [fail("configuration", problem, remedy) for problem in wrong.problems]
    findings.append(ok("configuration", f"{path or 'the environment'} is well formed"))
    return findings + trio.run(_online, settings)


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
        yield warn(
            "state",
            f"{state.root} does not exist yet",
            f"set larkd up: larkd init; or start it: {command_for(state, 'daemon')}",
        )
        return
    mode = stat.S_IMODE(state.root.stat().st_mode)
    if mode & 0o077:
        yield warn("state", f"others may look into {state.root}", f"chmod 700 {state.root}")
    else:
        yield ok("state", f"{state.root} is private")
    for role in ROLES:
        try:
            read_token(state.token(role))
        except ConfigurationError as wrong:
            yield fail(f"token {role}", str(wrong), "start larkd again after that")
        else:
            yield ok(f"token {role}", "is there, and private")
    yield examine_disk(shutil.disk_usage(state.root).free)


def _daemon(state: StateDir, now_ms: int) -> Iterator[Finding]:
    try:
        found = status.fetch(state)
    except (Unavailable, ConfigurationError) as why:
        yield fail("daemon", str(why), "larkd.log holds the reason if it ended by itself")
        return
    yield from examine_status(found, __version__, now_ms)


# ── the platform ────────────────────────────────────────────────────────────


async def _online(settings: Settings) -> list[Finding]:
    found: dict[int, list[Finding]] = {}
    async with trio.open_nursery() as nursery:
        for at, account in enumerate(settings.accounts):
            nursery.start_soon(_account, account, at, found)
    return [finding for at in sorted(found) for finding in found[at]]


async def _account(account: AccountSettings, at: int, found: dict[int, list[Finding]]) -> None:
    name = account.account_id
    bot: Outcome = NoAnswer(reason=f"no answer in {ONLINE_WITHIN_S:g} s")
    probes: list[Outcome] = []
    skew_s = None
    with trio.move_on_after(ONLINE_WITHIN_S):
        async with Platform(
            account.base_url, account.app_id, account.app_secret.reveal()
        ) as platform:
            bot = await platform.perform(gateway.GetBotInfo())
            if isinstance(bot, BotInfo):
                probes = [
                    await platform.perform(gateway.GetMessage(message_id=_NO_MESSAGE)),
                    await platform.perform(gateway.CreateCard(card_json=_EMPTY_CARD)),
                ]
        skew_s = await clock_skew_s(account.base_url)
    found[at] = [
        _credentials(f"credentials {name}", account, bot),
        *([_scopes(f"scopes {name}", probes)] if probes else []),
        examine_clock(f"clock {name}", skew_s),
    ]


def _credentials(check: str, account: AccountSettings, bot: Outcome) -> Finding:
    match bot:
        case BotInfo(name=name, open_id=open_id):
            return ok(check, f"{account.app_id} is the bot {name} ({open_id})")
        case CredentialsRefused():
            return fail(
                check,
                f"{account.base_url} refuses {account.app_id}: {describe(bot)}",
                "check appId, appSecret and domain, and that the app is enabled",
            )
    return fail(
        check,
        f"{account.base_url} does not say who {account.app_id} is: {describe(bot)}",
        "look at the network, at domain, and at the bot ability of the app",
    )


def _scopes(check: str, probes: list[Outcome]) -> Finding:
    missing = [one for one in probes if isinstance(one, MissingScope)]
    if not missing:
        return ok(check, "messages can be read, and cards be made")
    scopes = ", ".join(sorted({scope for one in missing for scope in one.scopes}))
    page = next((one.grant_url for one in missing if one.grant_url), None)
    return fail(
        check,
        f"missing: {scopes or 'see the log'}",
        f"grant it here: {page}" if page else "grant it in the developer console, and publish",
    )
