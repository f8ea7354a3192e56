"""``larkd service install|status|uninstall``: larkd kept running by systemd or launchd."""

from __future__ import annotations

import argparse
import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from actors.cli.output import CommandFailed, Output, as_json
from actors.host import config_file
from actors.host.service import (
    LABEL,
    UNIT,
    Service,
    environment_of,
    environment_text,
    launchd_plist,
    systemd_unit,
)
from actors.host.state_dir import write_private
from protocol.config import places
from protocol.config.places import StateDir

COMMAND_WITHIN_S: Final = 120.0
"""Starting waits for the daemon to be ready, stopping for its cards."""
_SYSTEMCTL: Final = ("systemctl", "--user")


class Manager(msgspec.Struct, frozen=True, kw_only=True):
    """The commands of this system's service manager."""

    file: Path
    content: str
    install: tuple[tuple[str, ...], ...]
    uninstall: tuple[tuple[str, ...], ...]
    status: tuple[str, ...]


class ServiceAnswer(NamedTuple):
    """What an action did, or found: for people, and as facts for scripts."""

    text: str
    facts: Mapping[str, Any]
    status: int = 0


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Do what was asked of the service.

    Raises:
        CommandFailed: the service manager is missing or refuses; the text holds its words.
        ConfigurationError: the configuration can't be read.
    """
    manager, service, environment = _planned(state, parsed.config)
    match parsed.action:
        case "install":
            done = (
                ServiceAnswer(manager.content.rstrip(), {"content": manager.content})
                if parsed.dry_run
                else _install(manager, service, environment)
            )
        case "uninstall":
            done = (
                ServiceAnswer(
                    "\n".join(map(" ".join, manager.uninstall)), {"commands": manager.uninstall}
                )
                if parsed.dry_run
                else _uninstall(manager, service)
            )
        case _:
            done = _status(manager)
    if parsed.json:
        about = {"action": parsed.action, "file": str(manager.file)}
        if parsed.action != "status":
            about["dry_run"] = parsed.dry_run
        return Output(as_json({**about, **done.facts}), done.status)
    return Output(done.text, done.status)


def can_be_installed() -> bool:
    """Whether this user's service manager answers; asked before the service is offered."""
    command = (
        ("launchctl", "list") if sys.platform == "darwin" else (*_SYSTEMCTL, "show-environment")
    )
    try:
        return _run(command).returncode == 0
    except CommandFailed:
        return False


def install(state: StateDir, config: Path) -> ServiceAnswer:
    """Install and start the service for the configuration *config*.

    Raises:
        CommandFailed: the service manager is missing or refuses; the text holds its words.
        ConfigurationError: the configuration can't be read.
    """
    return _install(*_planned(state, config))


def _planned(state: StateDir, config: Path | None) -> tuple[Manager, Service, Mapping[str, str]]:
    named, config = _named_variables(config)
    environment = environment_of(named, os.environ)
    service = _service(state, config)
    darwin = sys.platform == "darwin"
    return _launchd(service, environment) if darwin else _systemd(service), service, environment


def _service(state: StateDir, config: Path | None) -> Service:
    usual = places.state_dir(None, os.environ, Path.home())
    command = [sys.executable, "-m", "actors.cli", "daemon"]
    if config is not None:
        command += ["--config", str(config.expanduser().absolute())]
    if state != usual or os.environ.get("LARKD_STATE_DIR"):
        command += ["--state-dir", str(state.root.expanduser().absolute())]
    folder = places.config_paths(os.environ, Path.home())[0].parent
    return Service(
        command=tuple(command),
        environment_file=folder / "service.env",
        log=state.root / "launchd.log",
    )


def _named_variables(explicit: Path | None) -> tuple[list[str], Path | None]:
    """Return the variables the configuration names, and the file to name to the daemon."""
    path = config_file.find(explicit, os.environ, Path.home())
    raw = config_file.load(path) if path is not None else {}
    usual = path in places.config_paths(os.environ, Path.home())
    return list(_names(raw)), None if usual else path


def _names(value: Any) -> Iterator[str]:
    match value:
        case {"env": str(name)} if len(value) == 1:
            yield name
        case dict():
            for key, inner in value.items():
                if key == "env" and isinstance(inner, list):  # [agents.NAME]
                    yield from (name for name in inner if isinstance(name, str))
                else:
                    yield from _names(inner)
        case list():
            for inner in value:
                yield from _names(inner)


def _systemd(service: Service) -> Manager:
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    user = _SYSTEMCTL
    return Manager(
        file=base / "systemd" / "user" / UNIT,
        content=systemd_unit(service),
        install=((*user, "daemon-reload"), (*user, "enable", "--now", UNIT)),
        uninstall=((*user, "disable", "--now", UNIT), (*user, "daemon-reload")),
        status=(*user, "is-active", UNIT),
    )


def _launchd(service: Service, environment: Mapping[str, str]) -> Manager:
    file = Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    domain = f"gui/{os.getuid()}"
    return Manager(
        file=file,
        content=launchd_plist(service, environment),
        install=(("launchctl", "bootstrap", domain, str(file)),),
        uninstall=(("launchctl", "bootout", f"{domain}/{LABEL}"),),
        status=("launchctl", "print", f"{domain}/{LABEL}"),
    )


def _install(manager: Manager, service: Service, environment: Mapping[str, str]) -> ServiceAnswer:
    try:
        manager.file.parent.mkdir(parents=True, exist_ok=True)
        service.environment_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(service.environment_file, environment_text(environment).encode())
        write_private(manager.file, manager.content.encode())
    except OSError as failed:
        raise CommandFailed(f"{manager.file} can't be written: {failed.strerror}") from None
    for command in manager.install:
        _call(command)
    lines = [f"installed {manager.file}, and started it"]
    facts: dict[str, Any] = {"installed": True, "state": "active"}
    if sys.platform != "darwin":
        by_hand = _linger()
        facts |= {"lingers": by_hand is None, "linger_command": by_hand}
        lines.append(
            "it runs also while you are logged out"
            if by_hand is None
            else f"so that it runs while you are logged out: {by_hand}"
        )
    return ServiceAnswer("\n".join(lines), facts)


def _linger() -> str | None:
    """Let it run while nobody is logged in; return the command that does if we may not."""
    user = getpass.getuser()
    command = ("loginctl", "enable-linger", user)
    try:
        _call(command)
    except CommandFailed:
        return f"sudo {' '.join(command)}"
    return None


def _uninstall(manager: Manager, service: Service) -> ServiceAnswer:
    if not manager.file.exists():
        raise CommandFailed(f"there is no {manager.file}; nothing to uninstall")
    _call(manager.uninstall[0])
    manager.file.unlink(missing_ok=True)
    service.environment_file.unlink(missing_ok=True)
    for command in manager.uninstall[1:]:
        _call(command)
    return ServiceAnswer(
        f"stopped and removed {manager.file}; journal and configuration stay",
        {"installed": False, "state": "not installed"},
    )


def _status(manager: Manager) -> ServiceAnswer:
    installed = manager.file.exists()
    state = "not installed"
    if installed:
        try:
            done = _run(manager.status)
            state = (done.stdout.split("\n")[0].strip() or "unknown") if done.stdout else "unknown"
            if manager.status[0] == "launchctl":
                state = "active" if done.returncode == 0 else "inactive"
        except CommandFailed as failed:
            state = f"unknown: {failed}"
    return ServiceAnswer(
        f"{manager.file}: {state}",
        {"installed": installed, "state": state},
        0 if state == "active" else 1,
    )


def _call(command: tuple[str, ...]) -> None:
    """Run a command of the service manager.

    Raises:
        CommandFailed: it is missing, hangs or fails.
    """
    done = _run(command)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().replace("\n", " ")[:500]
        raise CommandFailed(f"{' '.join(command)}: {reason or f'status {done.returncode}'}")


def _run(command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    program = shutil.which(command[0])
    if program is None:
        raise CommandFailed(
            f"{command[0]} is not here, so nothing can keep larkd running; run it as a"
            " container, or under the service manager there is (--dry-run prints a file)"
        )
    try:
        return subprocess.run(  # noqa: S603  # the words are ours
            [program, *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_WITHIN_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{' '.join(command)}: no end in {COMMAND_WITHIN_S:g} s") from None
    except OSError as failed:
        raise CommandFailed(f"{program}: {failed.strerror}") from None
