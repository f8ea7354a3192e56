"""The app that ``larkd init`` has set up: what it can do, and what comes next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.cli import service
from actors.cli.output import CommandFailed
from actors.cli.service_manager import can_be_installed
from actors.feishu.inspection import Inspection
from actors.host import config_edit
from actors.host.advice import at_home, command_for
from protocol.config.keys import FEISHU_URL, LARK_URL
from protocol.config.places import StateDir
from protocol.errors import ConfigurationError
from protocol.platform import registration
from protocol.platform.outcomes import BotInfo

COLUMN: Final = 34
"""Where the purpose of a command stands."""
ATTACH_CLAUDE: Final = "claude --dangerously-load-development-channels server:feishu"


class FeishuApp(msgspec.Struct, frozen=True, kw_only=True):
    """The app that is being set up."""

    app_id: str
    app_secret: str
    domain: str
    """As in the configuration: feishu, lark or a URL."""
    open_id: str | None = None
    """Who made it by the scan: admitted, and admin."""
    is_new: bool = False

    def __repr__(self) -> str:
        return f"App({self.app_id})"

    @property
    def base_url(self) -> str:
        return {"feishu": FEISHU_URL, "lark": LARK_URL}.get(self.domain, self.domain)


def grant_link(app: FeishuApp, found: Inspection) -> str:
    """The page where everything that is missing can be granted at once."""
    return registration.grant_link(app.base_url, app.app_id, found.missing)


def as_map(
    app: FeishuApp, found: Inspection, written: config_edit.Written, problem: str | None
) -> dict[str, Any]:
    bot = found.bot
    return {
        "app_id": app.app_id,
        "domain": app.domain,
        "account": written.account,
        "config": str(written.config),
        "admin": app.open_id,
        "bot": {"name": bot.name, "open_id": bot.open_id} if isinstance(bot, BotInfo) else None,
        "scopes": dict(found.scopes),
        "missing": list(found.missing),
        "unknown": list(found.unknown),
        "grant_link": grant_link(app, found) if found.missing else None,
        "other_connections": found.connections,
        "connected": problem is None,
        "connection_error": problem,
    }


def open_elsewhere(count: int) -> str:
    if count == 1:
        return "1 other connection of this app is open"
    return f"{count} other connections of this app are open"


def summary(
    app: FeishuApp,
    found: Inspection,
    written: config_edit.Written,
    problem: str | None,
) -> list[str]:
    bot = found.bot
    name = f"bot {bot.name} ({bot.open_id})" if isinstance(bot, BotInfo) else "bot not seen yet"
    lines = [
        f"✅ {app.app_id}: {name}",
        at_home(
            f"✅ account {written.account} in {written.config}; its secret in {written.secret}"
        ),
    ]
    if app.open_id:
        lines.append(f"✅ {app.open_id}, who scanned, is admin")
    if found.missing:
        lines.append(f"❌ not granted: {', '.join(found.missing)}")
        lines.append(f"   grant it here, and publish a version: {grant_link(app, found)}")
    if found.unknown:
        lines.append(f"❔ not known whether granted: {', '.join(found.unknown)}")
    if not (found.missing or found.unknown):
        lines.append("✅ every scope larkd needs is granted")
    if found.connections:
        lines.append(
            f"⚠️  {open_elsewhere(found.connections)}; each event goes to one of them only."
            " Stop the other programs"
        )
    lines.append("✅ the long connection opens" if problem is None else f"❌ {problem}")
    return lines


def offered_service(state: StateDir, config: Path, *, admitted: bool) -> list[str]:
    """Offer to keep larkd running, where that can be done from here; return what comes next."""
    installed: list[str] = []
    if sys.stdin.isatty() and sys.stdout.isatty() and can_be_installed():
        installed = _asked(state, config)
    serve = command_for(state, "daemon", config=config)
    keep = command_for(state, "service", "install", config=config)
    start = [*_beside(serve, "run it here, or"), *_beside(keep, "run it always")]
    acp = command_for(state, "acp", "--alias", "codex", "--", "codex-acp")
    return [
        *installed,
        "",
        "What now:",
        *([] if installed else start),
        f"  claude mcp add -s user feishu -- {command_for(state, 'mcp')}",
        *_beside(ATTACH_CLAUDE, "attach Claude Code"),
        *_beside(acp, "attach any agent that speaks ACP"),
        "Then write to the bot."
        if admitted
        else "Then write to the bot, and approve the code it shows: "
        + command_for(state, "pair", "approve", "CODE"),
    ]


def _beside(command: str, what: str) -> list[str]:
    """Return a command with its purpose, on its line where it fits, else below."""
    if len(command) < COLUMN:
        return [f"  {command:<{COLUMN}}{what}"]
    return [f"  {command}", f"  {'':<{COLUMN}}{what}"]


def _asked(state: StateDir, config: Path) -> list[str]:
    """Return what was installed; nothing where it was not wanted, or did not succeed."""
    try:
        answer = input("Run larkd always, as a service of yours? [Y/n] ").strip().lower()
    except (EOFError, KeyboardInterrupt):
        sys.stdout.write("\n")
        return []
    if answer not in ("", "y", "yes"):
        return []
    try:
        done = service.install(state, config)
        return at_home(done.text).splitlines()
    except (CommandFailed, ConfigurationError) as failed:
        sys.stdout.write(f"❌ {failed}\n")
        return []
