"""``--check``: does the platform take the credentials, and does the long connection open?"""

from __future__ import annotations

import sys
from typing import Final
from urllib.parse import urlsplit

from actors.feishu.gateway import describe
from actors.feishu.http import Platform, proxy_of
from actors.feishu.inspection import connect_once
from actors.host.exit_status import ExitStatus
from actors.messages import gateway
from protocol.config.settings import AccountSettings, Settings
from protocol.platform.http_proxy import ProxyUnusableError
from protocol.platform.outcomes import BotInfo, CredentialsRefused, NoAnswer

LOOK_AT: Final = (
    "look at the network, and at HTTPS_PROXY and NO_PROXY: a proxy has to let CONNECT through"
)


def network_remedy(base_url: str) -> str:
    """Return what to do where the platform at *base_url* is not reached."""
    try:
        proxy = proxy_of(base_url)
    except ProxyUnusableError:
        return "name a proxy as http://name:password@host:port"
    return LOOK_AT if proxy is None else proxy.remedy(urlsplit(base_url).hostname or base_url)


async def check_accounts(settings: Settings) -> int:
    """Ask the platform who each bot is, and connect once; print a line an account.

    Calls and the long connection go different ways: through a proxy, one may do and the other
    not.
    """
    statuses = [await _check(account) for account in settings.accounts]
    return max(statuses)


async def _check(account: AccountSettings) -> int:
    async with Platform(account.base_url, account.app_id, account.app_secret.reveal()) as platform:
        outcome = await platform.perform(gateway.GetBotInfo())
        problem = await connect_once(platform) if isinstance(outcome, BotInfo) else None
    about = f"account {account.account_id} ({account.app_id} at {account.base_url})"
    match outcome:
        case BotInfo() if problem is not None:
            sys.stderr.write(
                f"larkd: {about}: the long connection does not open: {problem};"
                f" {network_remedy(account.base_url)}\n"
            )
            return ExitStatus.FAILED
        case BotInfo(name=name, open_id=open_id):
            sys.stdout.write(f"ok: {about}: bot {name} ({open_id}), the long connection opens\n")
            return ExitStatus.ORDERLY
        case CredentialsRefused():
            sys.stderr.write(
                f"larkd: {about}: credentials refused: {describe(outcome)};"
                " check appId, appSecret and domain, and that the app is enabled\n"
            )
            return ExitStatus.CREDENTIALS
        case NoAnswer():
            remedy = network_remedy(account.base_url)
            sys.stderr.write(f"larkd: {about}: {describe(outcome)}; {remedy}\n")
            return ExitStatus.FAILED
        case _:
            sys.stderr.write(f"larkd: {about}: {describe(outcome)}\n")
            return ExitStatus.FAILED
