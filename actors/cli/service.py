"""``larkd service install|status|uninstall``: larkd kept running by systemd or launchd."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from actors.cli.output import CommandFailed, Output, as_json
from actors.cli.service_manager import Manager, call, linger, manager_of, run_command
from actors.host import config_file, state_dir
from actors.host.advice import command_for
from actors.host.service import Service, environment_of, environment_text
from actors.host.state_dir import write_private
from protocol.config import places
from protocol.config.places import StateDir
from protocol.errors import ConfigurationError


class ServiceAnswer(NamedTuple):
    """What an action did, or found: for people, and as facts for scripts."""

    text: str
    facts: Mapping[str, Any]
    status: int = 0


class Installation(NamedTuple):
    """What is to run, with which variables, and the manager that would run it."""

    manager: Manager
    service: Service
    environment: Mapping[str, str]
    config: Path | None
    content: Mapping[str, Any]
    """The configuration as it stands in its file."""


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Do what was asked of the service.

    Raises:
        CommandFailed: the service manager is missing or refuses; the text holds its words.
        ConfigurationError: the configuration can't be read.
    """
    plan = _planned(state, parsed.config)
    manager = plan.manager
    match parsed.action:
        case "install":
            done = (
                ServiceAnswer(manager.content.rstrip(), {"content": manager.content})
                if parsed.dry_run
                else _install(state, plan)
            )
        case "uninstall":
            done = (
                ServiceAnswer(
                    "\n".join(map(" ".join, manager.uninstall)), {"commands": manager.uninstall}
                )
                if parsed.dry_run
                else _uninstall(manager, plan.service)
            )
        case _:
            done = _status(manager)
    if parsed.json:
        about = {"action": parsed.action, "file": str(manager.file)}
        if parsed.action != "status":
            about["dry_run"] = parsed.dry_run
        return Output(as_json({**about, **done.facts}), done.status)
    return Output(done.text, done.status)


def install(state: StateDir, config: Path) -> ServiceAnswer:
    """Install and start the service for the configuration *config*.

    Raises:
        CommandFailed: the service manager is missing or refuses; the text holds its words.
        ConfigurationError: the configuration can't be read.
    """
    return _install(state, _planned(state, config))


def _planned(state: StateDir, explicit: Path | None) -> Installation:
    path = config_file.find(explicit, os.environ, Path.home())
    content = config_file.load(path) if path is not None else {}
    environment = environment_of(list(_names(content)), os.environ)
    service = _service(state, path, environment)
    manager = manager_of(service, environment, command_for(state, "daemon", config=path))
    return Installation(manager, service, environment, path, content)


def _service(state: StateDir, config: Path | None, environment: Mapping[str, str]) -> Service:
    """Return what is to run; places are named wherever this shell's variables chose them."""
    command = [sys.executable, "-m", "actors.cli", "daemon"]
    if config is not None and config not in places.config_paths(environment, Path.home()):
        command += ["--config", str(config.expanduser().absolute())]
    if state != places.state_dir(None, environment, Path.home()):
        command += ["--state-dir", str(state.root.expanduser().absolute())]
    folder = places.config_paths(os.environ, Path.home())[0].parent
    return Service(
        command=tuple(command),
        environment_file=folder / "service.env",
        log=state.root / "launchd.log",
    )


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


def _install(state: StateDir, plan: Installation) -> ServiceAnswer:
    _check_before(state, plan)
    manager = plan.manager
    files = {
        plan.service.environment_file: environment_text(plan.environment).encode(),
        manager.file: manager.content.encode(),
    }
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    try:
        for path, content in files.items():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, content)
        for command in manager.replace:
            run_command(command)
        for command in manager.install:
            call(command)
    except OSError as failed:
        _put_back(manager, before)
        where = failed.filename or manager.file
        raise CommandFailed(f"{where} can't be written: {failed.strerror}") from None
    except CommandFailed as failed:
        _put_back(manager, before)
        left = "nothing is installed" if before[manager.file] is None else "all is as before"
        raise CommandFailed(
            f"{failed}; {left}. Its reason: {manager.failed}, or"
            f" {command_for(state, 'daemon', '--check', config=plan.config)}"
        ) from None
    lines = [f"installed {manager.file}, and started it"]
    facts: dict[str, Any] = {"installed": True, "state": "active"}
    if sys.platform != "darwin":
        by_hand = linger()
        facts |= {"lingers": by_hand is None, "linger_command": by_hand}
        lines.append(
            "it runs also while you are logged out"
            if by_hand is None
            else f"so that it runs while you are logged out: {by_hand}"
        )
    return ServiceAnswer("\n".join(lines), facts)


def _check_before(state: StateDir, plan: Installation) -> None:
    """Refuse what could not run, before anything is written."""
    try:
        config_file.settings(plan.content, plan.environment, plan.config)
    except ConfigurationError as wrong:
        try:
            config_file.settings(plan.content, os.environ, plan.config)
        except ConfigurationError:
            raise wrong from None
        raise ConfigurationError(
            *wrong.problems,
            "a service gets the variables that the configuration names, and no LARKD_… of this"
            " shell: write these into the configuration",
        ) from None
    done = run_command(plan.manager.answers)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise CommandFailed(
            f"no service manager serves this user ({' '.join(plan.manager.answers)}:"
            f" {reason[0] if reason else f'status {done.returncode}'});"
            f" {plan.manager.unanswered}"
        )
    pid = state_dir.serving_pid(state)
    if pid is not None and run_command(plan.manager.status).returncode:
        raise CommandFailed(
            f"a larkd that is no service runs already (pid {pid}); end it first:"
            f" {command_for(state, 'daemon', 'stop')}"
        )


def _put_back(manager: Manager, before: Mapping[Path, bytes | None]) -> None:
    """Leave the files, and the service, as they were before the installation."""
    was_there = before[manager.file] is not None
    if not was_there:
        with suppress(CommandFailed):
            run_command(manager.uninstall[0])
    for path, content in before.items():
        with suppress(OSError):
            if content is None:
                path.unlink(missing_ok=True)
            else:
                write_private(path, content)
    with suppress(CommandFailed):
        for command in manager.install if was_there else manager.uninstall[1:]:
            run_command(command)


def _uninstall(manager: Manager, service: Service) -> ServiceAnswer:
    if not manager.file.exists():
        raise CommandFailed(f"there is no {manager.file}; nothing to uninstall")
    call(manager.uninstall[0])
    manager.file.unlink(missing_ok=True)
    service.environment_file.unlink(missing_ok=True)
    for command in manager.uninstall[1:]:
        call(command)
    return ServiceAnswer(
        f"stopped and removed {manager.file}; journal and configuration stay",
        {"installed": False, "state": "not installed"},
    )


def _status(manager: Manager) -> ServiceAnswer:
    installed = manager.file.exists()
    state = "not installed"
    if installed:
        try:
            done = run_command(manager.status)
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
