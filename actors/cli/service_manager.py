"""The service manager of this user, systemd or launchd: its file, and its commands."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from actors.cli.output import CommandFailed
from actors.host.service import LABEL, UNIT, Service, launchd_plist, systemd_unit

COMMAND_WITHIN_S: Final = 120.0
"""Starting waits for the daemon to be ready, stopping for its cards."""
_SYSTEMCTL: Final = ("systemctl", "--user")

CommandLine = tuple[str, ...]


class Manager(msgspec.Struct, frozen=True, kw_only=True):
    """The commands of this system's service manager."""

    file: Path
    content: str
    answers: CommandLine
    """Fails where no manager serves this user."""
    replace: tuple[CommandLine, ...]
    """Before an installation; what fails was not there."""
    install: tuple[CommandLine, ...]
    uninstall: tuple[CommandLine, ...]
    """Ends the service first; the rest once its file is gone."""
    status: CommandLine
    unanswered: str
    """What to do where no manager serves this user."""
    failed: str
    """Where the reason of a service that does not start can be read."""


def manager_of(service: Service, environment: Mapping[str, str], by_hand: str) -> Manager:
    """Return the manager that would run *service* with *environment* on this system.

    *by_hand* is the command line that serves the same without one.
    """
    if sys.platform == "darwin":
        return _launchd(service, environment)
    return _systemd(service, by_hand)


def _systemd(service: Service, by_hand: str) -> Manager:
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    user = _SYSTEMCTL
    return Manager(
        file=base / "systemd" / "user" / UNIT,
        content=systemd_unit(service),
        answers=(*user, "show-environment"),
        replace=(),
        # A service that runs already is started anew, with what was written now.
        install=((*user, "daemon-reload"), (*user, "enable", UNIT), (*user, "restart", UNIT)),
        uninstall=((*user, "disable", "--now", UNIT), (*user, "daemon-reload")),
        status=(*user, "is-active", UNIT),
        unanswered=(
            "log in as this user itself (ssh, not su or sudo), after"
            f" sudo loginctl enable-linger {getpass.getuser()}; in a container run the daemon"
            f" itself: {by_hand}; --dry-run prints the file"
        ),
        failed=f"journalctl --user -u {UNIT} -n 20",
    )


def _launchd(service: Service, environment: Mapping[str, str]) -> Manager:
    file = Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    domain = f"gui/{os.getuid()}"
    end = ("launchctl", "bootout", f"{domain}/{LABEL}")
    return Manager(
        file=file,
        content=launchd_plist(service, environment),
        answers=("launchctl", "print", domain),
        replace=(end,),
        install=(("launchctl", "bootstrap", domain, str(file)),),
        uninstall=(end,),
        status=("launchctl", "print", f"{domain}/{LABEL}"),
        unanswered="log in on the screen of this Mac as this user; --dry-run prints the file",
        failed=f"cat {service.log}",
    )


def can_be_installed() -> bool:
    """Whether this user's service manager answers; asked before the service is offered."""
    command = (
        ("launchctl", "list") if sys.platform == "darwin" else (*_SYSTEMCTL, "show-environment")
    )
    try:
        return run_command(command).returncode == 0
    except CommandFailed:
        return False


def linger() -> str | None:
    """Let it run while nobody is logged in; return the command that does if we may not."""
    command = ("loginctl", "enable-linger", getpass.getuser())
    try:
        call(command)
    except CommandFailed:
        return f"sudo {' '.join(command)}"
    return None


def call(command: CommandLine) -> None:
    """Run a command of the service manager.

    Raises:
        CommandFailed: it is missing, hangs or fails.
    """
    done = run_command(command)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().replace("\n", " ")[:500]
        raise CommandFailed(f"{' '.join(command)}: {reason or f'status {done.returncode}'}")


def run_command(command: CommandLine) -> subprocess.CompletedProcess[str]:
    """Run a command of the service manager, whatever its status.

    Raises:
        CommandFailed: it is missing or hangs.
    """
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
