"""``--check``: does the platform take the credentials of every account?"""

from __future__ import annotations

import sys

from actors.feishu.gateway import describe
from actors.feishu.http import Platform
from actors.host.exit_status import ExitStatus
from actors.messages import gateway
from protocol.config.settings import AccountSettings, Settings
from protocol.platform.outcomes import BotInfo, CredentialsRefused


async def check_accounts(settings: Settings) -> int:
    """Ask the platform who each bot is; print a line an account, and what to do."""
    statuses = [await _check(account) for account in settings.accounts]
    return max(statuses)


async def _check(account: AccountSettings) -> int:
    async with Platform(account.base_url, account.app_id, account.app_secret.reveal()) as platform:
        outcome = await platform.perform(gateway.GetBotInfo())
    about = f"account {account.account_id} ({account.app_id} at {account.base_url})"
    match outcome:
        case BotInfo(name=name, open_id=open_id):
            sys.stdout.write(f"ok: {about}: bot {name} ({open_id})\n")
            return ExitStatus.ORDERLY
        case CredentialsRefused():
            sys.stderr.write(
                f"larkd: {about}: credentials refused: {describe(outcome)};"
                " check appId, appSecret and domain, and that the app is enabled\n"
            )
            return ExitStatus.CREDENTIALS
        case _:
            sys.stderr.write(f"larkd: {about}: {describe(outcome)}\n")
            return ExitStatus.FAILED
