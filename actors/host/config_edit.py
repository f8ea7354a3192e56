"""Adding an app to a configuration file: what is there stays, comments included.

The secret goes into a file of its own beside the configuration. Nothing is written before
the new configuration was read and found whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import tomlkit

from actors.host import config_file
from actors.host.state_dir import PRIVATE_DIR, write_private
from protocol.config import keys
from protocol.config.checks import Problems, read_map
from protocol.config.reading import read_settings
from protocol.errors import ConfigurationError


class NewApp(msgspec.Struct, frozen=True, kw_only=True):
    """An app as it is to stand in the configuration."""

    app_id: str
    app_secret: str
    domain: str | None = None
    """None: not written, so the default holds."""
    account: str | None = None
    """Its name among several; None: its id."""
    admins: tuple[str, ...] = ()
    """open_ids that are admitted and admins from the start."""

    def __repr__(self) -> str:
        return f"NewApp({self.app_id})"


class Written(msgspec.Struct, frozen=True):
    """Where the app went."""

    config: Path
    secret: Path
    account: str


def add_app(path: Path, app: NewApp, env: Mapping[str, str], *, replace: bool = False) -> Written:
    """Add *app* to the configuration at *path*, which may not exist yet.

    Args:
        path: ``….toml``, or ``….json``.
        app: what to add.
        env: names that secrets of the configuration may be taken from.
        replace: start a new configuration instead of adding to the old one.

    Raises:
        ConfigurationError: what is there can't be read, has this account, or would be
            wrong with it; nothing was written.
    """
    text = path.read_text(encoding="utf-8-sig") if path.exists() and not replace else ""
    if text:
        check_form(path)
    document: MutableMapping[str, Any] = (
        json.loads(text or "{}") if path.suffix == ".json" else tomlkit.parse(text)
    )
    secret = path.parent / f"{app.app_id}.secret"
    account = _insert(document, app, secret)
    written = (
        json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if path.suffix == ".json"
        else tomlkit.dumps(document)
    )
    _check(document, app, secret, env, path)
    had_secret, whole = secret.exists(), False
    try:
        path.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        write_private(secret, app.app_secret.encode() + b"\n")
        write_private(path, written.encode())
        whole = True
    except OSError as failed:
        raise ConfigurationError(f"{path} can't be written: {failed.strerror or failed}") from None
    finally:
        # Also on Ctrl-C: a secret that no configuration names is half of something.
        if not (whole or had_secret):
            secret.unlink(missing_ok=True)
    return Written(path, secret, account)


def check_form(path: Path) -> None:
    """Refuse a configuration that an app can't be added to: what is wrong with it comes first.

    Raises:
        ConfigurationError: with the place where it is not well formed, or every wrong key.
    """
    problems = Problems()
    read_map(config_file.load(path), "", keys.TOP, problems)
    if problems:
        raise ConfigurationError(*(f"{path}: {line}" for line in problems.lines))


def _insert(document: MutableMapping[str, Any], app: NewApp, secret: Path) -> str:
    """Put the app where the page has it; return its account's name."""
    own: dict[str, Any] = {"appId": app.app_id, "appSecret": {"file": str(secret)}}
    if app.domain is not None:
        own["domain"] = app.domain
    if app.admins:
        own |= {"admins": list(app.admins), "allowFrom": list(app.admins)}
    channels = document.get("channels")
    _check_is_new(channels or (), app.app_id)
    if not channels:
        document["channels"] = _tables(
            [{"id": "feishu", "type": "feishu", "options": own}], document
        )
        return "default"
    options = channels[0].setdefault("options", {})
    accounts = options.setdefault("accounts", {})
    if not accounts and "appId" in options:
        accounts["default"] = {}  # the app that was alone keeps its name and its options
    name = app.account or app.app_id
    if name in accounts:
        raise ConfigurationError(
            f"there is an account {name} already; name this one with --account"
        )
    accounts[name] = own
    return name


def _check_is_new(channels: Iterable[Mapping[str, Any]], app_id: str) -> None:
    """Refuse an app that has an account already; only its form was checked by then."""
    for channel in channels:
        options = channel.get("options", {})
        accounts = options.get("accounts") or {"default": options}
        for name, own in accounts.items():
            if {**options, **own}.get("appId") == app_id:
                raise ConfigurationError(
                    f"{app_id} is configured already, as account {name}; change it there"
                    " (init --force writes a new configuration in its place)"
                )


def _tables(channels: list[dict[str, Any]], document: MutableMapping[str, Any]) -> Any:
    """Return a list for JSON, and for TOML the [[channels]] that people write."""
    if not isinstance(document, tomlkit.TOMLDocument):
        return channels
    tables = tomlkit.aot()
    for channel in channels:
        table = tomlkit.item(channel)
        source = tomlkit.inline_table()
        source.update(channel["options"]["appSecret"])
        table["options"]["appSecret"] = source
        tables.append(table)
    return tables


def _check(
    document: Mapping[str, Any], app: NewApp, secret: Path, env: Mapping[str, str], path: Path
) -> None:
    """Read the configuration as the daemon will, the new secret taken as written."""
    plain = document.unwrap() if isinstance(document, tomlkit.TOMLDocument) else document

    def read_secret(name: str) -> str:
        if name == str(secret):
            return app.app_secret
        return config_file.read_secret(name, beside=path)

    ours = {"LARKD_APP_ID", "LARKD_APP_SECRET", "LARKD_DOMAIN", "LARKD_REPLY_MODE"}
    rest = {name: value for name, value in env.items() if name not in ours}
    read_settings(plain, rest, read_secret)
