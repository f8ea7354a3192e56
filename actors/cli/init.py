"""``larkd init``: from nothing to a configured bot, by a scan or with an app that exists.

Nothing is written before the platform has taken the credentials. What is written is whole
or not there, so every step can be interrupted and repeated.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from actors.cli import qr, terminal
from actors.cli.app_set_up import FeishuApp, as_map, offered_service, summary
from actors.cli.channel import as_given, checked, read_secret, refused, target
from actors.cli.output import CommandFailed, Output, as_json
from actors.feishu.gateway import describe
from actors.feishu.http import Platform
from actors.feishu.inspection import Inspection, connect_once, inspect
from actors.feishu.registration import Registrar, Unreachable
from actors.host import config_edit
from actors.host.advice import command_for
from protocol.config.places import StateDir
from protocol.errors import ConfigurationError
from protocol.platform import registration
from protocol.platform.outcomes import BotInfo, CredentialsRefused

RENEWALS: Final = 1
NEW_APP_WITHIN_S: Final = 20.0
"""A new app's credentials are not taken everywhere in the same moment."""
NEW_APP_AGAIN_S: Final = 2.0
_MINUTE_S: Final = 60

ResultT = TypeVar("ResultT")


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Set up one app.

    Raises:
        CommandFailed: the scan was denied or expired, the platform can't be reached, or it
            refuses the credentials (status 4); nothing is written.
        ConfigurationError: an argument or the configuration is wrong; nothing is written.
    """
    path = target(parsed.config)
    _check_before(path, parsed)
    show = _Show(quiet=parsed.json)
    try:
        if parsed.no_wait:
            return _run(_begin_only, state, parsed)
        app = _existing(state, parsed) if parsed.app_id else _run(_scan, parsed, show)
        found = _run(_proven, app, show)
        written = _write(path, app, parsed)
        problem = _run(_connect, app)
    except KeyboardInterrupt:
        raise CommandFailed(
            "stopped; nothing was written" if not path.exists() else "stopped"
        ) from None
    if parsed.json:
        return Output(as_json(as_map(app, found, written, problem)))
    for line in summary(app, found, written, problem):
        show.line(line)
    return Output(
        "\n".join(offered_service(state, written.config, admitted=app.open_id is not None))
    )


def _run(function: Callable[..., Awaitable[ResultT]], *args: object) -> ResultT:
    """``trio.run``, with Ctrl-C as the one exception it is to a command."""
    try:
        return trio.run(function, *args)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            raise KeyboardInterrupt from None
        raise


def _check_before(path: Path, parsed: argparse.Namespace) -> None:
    """Refuse what would fail after the scan: by then there is an app nobody has."""
    if bool(parsed.app_id) is not bool(parsed.app_secret_stdin):
        raise ConfigurationError("--app-id and --app-secret-stdin go together")
    if parsed.app_id:
        checked("--app-id", "appId", parsed.app_id)
    if parsed.domain:
        checked("--domain", "domain", parsed.domain)
    if path.exists() and not parsed.force:
        config_edit.check_form(path)
    folder = next(one for one in path.parents if one.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{folder} is not writable; name another file with --config")


def _existing(state: StateDir, parsed: argparse.Namespace) -> FeishuApp:
    domain = _domain(parsed)
    secret = read_secret(state, parsed, "init")
    return FeishuApp(app_id=parsed.app_id, app_secret=secret, domain=domain)


def _domain(parsed: argparse.Namespace) -> str:
    """Return the domain asked for: by the option, by a question on a terminal, else Feishu."""
    if parsed.domain:
        given: str = parsed.domain
        return given if given in ("feishu", "lark") else checked("--domain", "domain", given)
    if parsed.app_secret_stdin or parsed.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "feishu"
    try:
        answer = input("Feishu (飞书) or Lark? [feishu] ").strip().lower()
    except EOFError:
        sys.stdout.write("\n")
        raise CommandFailed(
            "not known whether Feishu or Lark; nothing was written. Answer it, or name --domain"
        ) from None
    return "lark" if answer.startswith("l") else "feishu"


def _registrar(domain: str) -> Registrar:
    if domain in ("feishu", "lark"):
        return Registrar(registration.FEISHU_ACCOUNTS, registration.LARK_ACCOUNTS)
    return Registrar(domain, domain)


# ── the scan ────────────────────────────────────────────────────────────────


async def _begin_only(state: StateDir, parsed: argparse.Namespace) -> Output:
    domain = _domain(parsed)
    begun = await _begin(_registrar(domain))
    links = _links(begun, domain, parsed.name)
    words = ("init", "--device-code", begun.device_code, *as_given(parsed))
    again = command_for(state, *words, config=parsed.config)
    if parsed.json:
        content: dict[str, Any] = {
            "device_code": begun.device_code,
            "user_code": begun.user_code,
            "link": links[0],
            "links": links,
            "interval": begun.interval_s,
            "expires_in": begun.expires_s,
        }
        return Output(as_json(content))
    lines = [*links, f"device code: {begun.device_code}", f"then go on with: {again}"]
    return Output("\n".join(lines))


async def _scan(parsed: argparse.Namespace, show: _Show) -> FeishuApp:
    domain = _domain(parsed)
    registrar = _registrar(domain)
    renewals = 0
    device_code: str | None = parsed.device_code
    interval_s, expires_s = registration.INTERVAL_DEFAULT_S, registration.EXPIRES_DEFAULT_S
    while True:
        if device_code is None:
            begun = await _begin(registrar)
            device_code, interval_s, expires_s = (
                begun.device_code,
                begun.interval_s,
                begun.expires_s,
            )
            show.links(_links(begun, domain, parsed.name))
        decided = await show.waiting(registrar, device_code, interval_s, expires_s)
        if isinstance(decided, registration.Approved):
            break
        if decided is not None and not decided.expired:
            reason = decided.description or decided.error
            raise CommandFailed(f"the scan was refused: {reason}; nothing was written")
        if parsed.device_code and decided is not None and decided.error == "invalid_grant":
            raise CommandFailed(
                "the platform knows no such device code, or it has been used; nothing was"
                " written. Call it again without --device-code"
            )
        if renewals == RENEWALS or parsed.device_code:
            raise CommandFailed("nobody scanned in time; nothing was written. Call it again")
        renewals, device_code = renewals + 1, None
        show.line("The code has expired; here is another one.")
    brand = "lark" if decided.brand == "lark" and domain == "feishu" else domain
    return FeishuApp(
        app_id=decided.app_id,
        app_secret=decided.app_secret,
        domain=brand,
        open_id=decided.open_id,
        is_new=True,
    )


async def _begin(registrar: Registrar) -> registration.Begun:
    try:
        return await registrar.begin()
    except Unreachable as failed:
        raise CommandFailed(f"{failed}; look at the network, its DNS, and --domain") from None


def _links(begun: registration.Begun, domain: str, name: str | None) -> list[str]:
    """The link to show first, and where sources differ on the page, the other one too."""
    launcher = registration.link_to_show(begun, name=name)
    return [registration.lark_link(begun), launcher] if domain == "lark" else [launcher]


class _Show:
    """What a person sees meanwhile; nothing where a script reads."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._counts = sys.stderr.isatty() and not quiet

    def line(self, text: str) -> None:
        if not self._quiet:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def links(self, links: list[str]) -> None:
        if self._quiet:
            # A script that waits still has to hand the link to somebody.
            sys.stderr.write("".join(f"{link}\n" for link in links))
            sys.stderr.flush()
            return
        if sys.stdout.isatty() and qr.can_be_drawn(os.environ):
            lines = qr.shown(links, *terminal.size())
        else:
            lines = ["Open this link with Feishu or Lark:", *links]
        for line in lines:
            self.line(line)

    async def waiting(
        self, registrar: Registrar, device_code: str, interval_s: float, expires_s: float
    ) -> registration.Approved | registration.Denied | None:
        """Wait for the scan, counting down; None when the time is over."""
        until = trio.current_time() + expires_s
        if not self._counts:
            self.line(f"Waiting; the code is valid for {int(expires_s) // _MINUTE_S} minutes.")
        with trio.move_on_at(until):
            async with trio.open_nursery() as nursery:
                if self._counts:
                    nursery.start_soon(self._count_down, until)
                decided = await registrar.wait(device_code, interval_s)
                nursery.cancel_scope.cancel(reason="decided")
            return decided
        return None

    async def _count_down(self, until: float) -> None:
        try:
            while True:
                left = max(0, int(until - trio.current_time()))
                sys.stderr.write(f"\rWaiting for the scan, {left // 60}:{left % 60:02d} left ")
                sys.stderr.flush()
                await trio.sleep(1)
        finally:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


# ── proving and writing ─────────────────────────────────────────────────────


async def _proven(app: FeishuApp, show: _Show) -> Inspection:
    """Read back what the app can do.

    Raises:
        CommandFailed: the credentials are refused, or nobody answers; nothing is written.
    """
    show.line(f"Looking at {app.app_id} at {app.base_url}")
    until = trio.current_time() + (NEW_APP_WITHIN_S if app.is_new else 0)
    while True:
        async with Platform(app.base_url, app.app_id, app.app_secret) as platform:
            found = await inspect(platform)
        if isinstance(found.bot, BotInfo):
            return found
        if trio.current_time() >= until:
            break
        await trio.sleep(NEW_APP_AGAIN_S)
    if isinstance(found.bot, CredentialsRefused):
        raise refused(app.app_id, app.base_url, found.bot)
    if app.is_new:
        # Its secret is nowhere else: better an unproven configuration than a lost app.
        return found
    raise CommandFailed(
        f"{app.base_url} does not name the bot of {app.app_id}: {describe(found.bot)};"
        " nothing was written. Look at the network, --domain, and the app's bot ability"
    )


def _write(path: Path, app: FeishuApp, parsed: argparse.Namespace) -> config_edit.Written:
    new = config_edit.NewApp(
        app_id=app.app_id,
        app_secret=app.app_secret,
        domain=app.domain,
        account=parsed.account,
        admins=(app.open_id,) if app.open_id else (),
    )
    return config_edit.add_app(path, new, os.environ, replace=parsed.force)


async def _connect(app: FeishuApp) -> str | None:
    async with Platform(app.base_url, app.app_id, app.app_secret) as platform:
        return await connect_once(platform)
