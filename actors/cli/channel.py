"""``larkd channel add feishu``: one more app in the configuration, its secret in a file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from actors.cli.output import CommandFailed, Output, as_asked
from actors.feishu.gateway import describe
from actors.feishu.http import Platform
from actors.host import config_edit, config_file
from actors.host.advice import command_for
from actors.host.exit_status import ExitStatus
from actors.host.state_dir import serving_pid
from actors.messages import gateway
from protocol.config import keys, places
from protocol.config.checks import CheckFailed, Problems
from protocol.config.places import StateDir
from protocol.errors import ConfigurationError
from protocol.platform.outcomes import BotInfo, CredentialsRefused, NoAnswer, Outcome

SECRET_CHARACTERS_MAX: Final = 4_096
CHECK_WITHIN_S: Final = 15.0


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Check the credentials, then write them.

    Raises:
        CommandFailed: the platform refuses the credentials (status 4); nothing is written.
        ConfigurationError: an argument or the configuration is wrong; nothing is written.
    """
    app = config_edit.NewApp(
        app_id=checked("--app-id", "appId", parsed.app_id),
        app_secret=read_secret(state, parsed, "channel", "add", "feishu"),
        domain=parsed.domain,
        account=parsed.account,
    )
    base_url = checked("--domain", "domain", parsed.domain or "feishu")
    outcome = trio.run(bot_of, base_url, app.app_id, app.app_secret)
    if isinstance(outcome, CredentialsRefused):
        raise refused(app.app_id, base_url, outcome)
    written = config_edit.add_app(target(parsed.config), app, os.environ)
    start = command_for(state, "daemon", config=written.config)
    if serving_pid(state) is not None:
        start = f"{command_for(state, 'daemon', 'stop')} && {start}"
    lines = [
        f"added account {written.account} ({app.app_id}) to {written.config}",
        f"its secret is in {written.secret}, readable by you alone",
        f"then it is served: {start}",
    ]
    if not isinstance(outcome, BotInfo):
        lines.insert(0, f"not proven: {base_url} does not name the bot: {describe(outcome)}")
    bot = outcome if isinstance(outcome, BotInfo) else None
    facts = {
        "account": written.account,
        "app_id": app.app_id,
        "config": str(written.config),
        "secret_file": str(written.secret),
        "bot": None if bot is None else {"name": bot.name, "open_id": bot.open_id},
        "problem": describe(outcome) if bot is None else None,
        "start": start,
    }
    return as_asked(parsed, "\n".join(lines), facts)


def target(explicit: Path | None) -> Path:
    """Return the configuration to write: the one in force, else a new ``config.toml``."""
    found = config_file.find(explicit, os.environ, Path.home())
    return found or places.config_paths(os.environ, Path.home())[0]


def checked(option: str, key: str, value: str) -> str:
    """Read *value* as the configuration's *key* would be.

    Raises:
        ConfigurationError: it can't stand there; the text names *option*.
    """
    try:
        return str(keys.OPTIONS[key](value, option, Problems()))
    except CheckFailed as problem:
        raise ConfigurationError(str(problem)) from None


def as_given(parsed: argparse.Namespace) -> Iterator[str]:
    """Return the options of this command line that name the app, and how it is added."""
    for option in ("domain", "account", "name"):
        if (value := getattr(parsed, option, None)) is not None:
            yield from (f"--{option}", value)
    if getattr(parsed, "force", False):
        yield "--force"


def read_secret(state: StateDir, parsed: argparse.Namespace, *words: str) -> str:
    """Return the one word on standard input of the command *words*.

    Raises:
        ConfigurationError: there is none, or it is no secret.
    """
    secret = sys.stdin.read(SECRET_CHARACTERS_MAX + 1).strip()
    if not secret or len(secret.split()) != 1 or len(secret) > SECRET_CHARACTERS_MAX:
        again = (*words, "--app-id", parsed.app_id, "--app-secret-stdin", *as_given(parsed))
        raise ConfigurationError(
            "standard input: holds no app secret; write it there alone, for example:"
            f" {command_for(state, *again, config=parsed.config)} < secret-file"
        )
    return secret


async def bot_of(base_url: str, app_id: str, app_secret: str) -> Outcome:
    """Ask the platform who the bot is."""
    with trio.move_on_after(CHECK_WITHIN_S):
        async with Platform(base_url, app_id, app_secret) as platform:
            return await platform.perform(gateway.GetBotInfo())
    return NoAnswer(reason=f"no answer in {CHECK_WITHIN_S:g} s")


def refused(app_id: str, base_url: str, outcome: CredentialsRefused) -> CommandFailed:
    return CommandFailed(
        f"{base_url} refuses {app_id}: {describe(outcome)}; nothing was written."
        " Check id, secret and --domain, and that the app is enabled",
        ExitStatus.CREDENTIALS,
    )
