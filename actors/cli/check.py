"""``--check``: does the platform take the credentials, and does the long connection open?

And can the certificates be used, and the database of a cluster?
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import trio
from msgspec import Struct

from actors.cli.doctor_certificates import examine_certificates
from actors.cli.output import CommandFailed
from actors.cli.output import as_json as to_json
from actors.feishu.gateway import describe
from actors.feishu.http import Platform, proxy_of
from actors.feishu.inspection import connect_once
from actors.host.exit_status import ExitStatus
from actors.kit.plain import LINES, plain
from actors.messages import gateway
from protocol.config.settings import AccountSettings, Settings
from protocol.platform.http_proxy import ProxyUnusableError
from protocol.platform.outcomes import BotInfo, CredentialsRefused, NoAnswer, Outcome

LOOK_AT: Final = (
    "look at the network and its DNS, and at HTTPS_PROXY and NO_PROXY:"
    " a proxy has to let CONNECT through"
)


class Problem(Struct, frozen=True, kw_only=True):
    """What keeps the daemon from serving, with the remedy."""

    status: ExitStatus
    text: str


class Checked(Struct, frozen=True, kw_only=True):
    """What was found of one account."""

    account: AccountSettings
    status: ExitStatus
    bot: BotInfo | None = None
    problem: str | None = None
    """What is wrong, with the remedy; None where nothing is."""

    def as_line(self) -> str:
        """Return the line for people."""
        of = self.account
        about = f"account {of.account_id} ({of.app_id} at {of.base_url})"
        if self.problem is not None or self.bot is None:
            return f"larkd: {about}: {self.problem}"
        return f"ok: {about}: bot {self.bot.name} ({self.bot.open_id}), the long connection opens"

    def as_map(self) -> dict[str, Any]:
        """Return the same for scripts."""
        bot = self.bot
        return {
            "account": self.account.account_id,
            "app_id": self.account.app_id,
            "domain": self.account.base_url,
            "bot": None if bot is None else {"name": bot.name, "open_id": bot.open_id},
            "status": int(self.status),
            "problem": self.problem,
        }


def network_remedy(base_url: str) -> str:
    """Return what to do where the platform at *base_url* is not reached."""
    try:
        proxy = proxy_of(base_url)
    except ProxyUnusableError:
        return "name a proxy as http://name:password@host:port"
    return LOOK_AT if proxy is None else proxy.remedy(urlsplit(base_url).hostname or base_url)


async def check(settings: Settings, *, as_json: bool = False) -> int:
    """Ask the platform who each bot is, and connect once; print a line an account, or one map.

    Calls and the long connection go different ways: through a proxy, one may do and the other
    not. Returns the exit status, the highest of what was found.
    """
    local = await trio.to_thread.run_sync(lambda: [*_certificates(settings), *_database(settings)])
    for one in [] if as_json else local:
        sys.stderr.write(f"larkd: {plain(one.text)}\n")
    found: list[Checked] = []
    for account in settings.accounts:
        found.append(await _check(account))
        if not as_json:
            stream = sys.stdout if found[-1].problem is None else sys.stderr
            stream.write(f"{plain(found[-1].as_line())}\n")
    if as_json:
        whole = {
            "accounts": [one.as_map() for one in found],
            "problems": [one.text for one in local],
        }
        sys.stdout.write(plain(to_json(whole), LINES) + "\n")
    return max([*(one.status for one in found), *(one.status for one in local)])


def _certificates(settings: Settings) -> Iterator[Problem]:
    """What keeps clients out, or the daemon from starting. A day that is near does neither."""
    for one in examine_certificates(settings, time.time_ns() // 1_000_000):
        if one.state == "fail":
            yield Problem(status=ExitStatus.USAGE, text=f"{one.check}: {one.found}; {one.remedy}")


def _database(settings: Settings) -> Iterator[Problem]:
    if settings.cluster is None:
        return
    from actors.cli.claims import asking_of  # noqa: PLC0415  # it needs larkd[postgres]

    try:
        with asking_of(settings.cluster) as watcher:
            watcher.look()
    except CommandFailed as failed:
        yield Problem(status=ExitStatus.FAILED, text=str(failed))


async def _check(account: AccountSettings) -> Checked:
    async with Platform(account.base_url, account.app_id, account.app_secret.reveal()) as platform:
        outcome = await platform.perform(gateway.GetBotInfo())
        unopened = await connect_once(platform) if isinstance(outcome, BotInfo) else None
    if isinstance(outcome, BotInfo) and unopened is None:
        return Checked(account=account, status=ExitStatus.ORDERLY, bot=outcome)
    return Checked(
        account=account,
        status=_status_of(outcome),
        bot=outcome if isinstance(outcome, BotInfo) else None,
        problem=_problem(account.base_url, outcome, unopened),
    )


def _status_of(outcome: Outcome) -> ExitStatus:
    refused = isinstance(outcome, CredentialsRefused)
    return ExitStatus.CREDENTIALS if refused else ExitStatus.FAILED


def _problem(base_url: str, outcome: Outcome, unopened: str | None) -> str:
    match outcome:
        case BotInfo():
            remedy = network_remedy(base_url)
            return f"the long connection does not open: {unopened}; {remedy}"
        case CredentialsRefused():
            return (
                f"credentials refused: {describe(outcome)};"
                " check appId, appSecret and domain, and that the app is enabled"
            )
        case NoAnswer():
            return f"{describe(outcome)}; {network_remedy(base_url)}"
    return describe(outcome)
