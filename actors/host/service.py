"""The service files of systemd and launchd, as text; nothing is run or written here."""

from __future__ import annotations

import plistlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

UNIT: Final = "larkd.service"
LABEL: Final = "dev.larkd.daemon"
WATCHDOG_S: Final = 30
"""The daemon beats three times in it; a loop that stands still for so long is restarted."""
STOP_WITHIN_S: Final = 90
"""Beyond the daemon's own way out, which brings every card to its end."""
_NEVER_AGAIN: Final = "2 3 4"
"""Bad configuration, already running, refused credentials: a restart mends none of them."""
_PASSED: Final = (
    "PATH",
    "LANG",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
)


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What is to run."""

    command: tuple[str, ...]
    """The interpreter's absolute path first."""
    environment_file: Path
    """Variables that the configuration names, 0600; it need not exist."""
    log: Path


def environment_of(named: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
    """Return what the service gets of *env*.

    The names the configuration uses, and the least that programs need to be found and to
    reach the network.
    """
    return {name: env[name] for name in dict.fromkeys((*_PASSED, *named)) if env.get(name)}


def environment_text(environment: Mapping[str, str]) -> str:
    """Return *environment* in the form of systemd's EnvironmentFile."""
    # In double quotes only these two mean something; a line's end stands for itself.
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in environment.items()
    }
    return "".join(f'{name}="{value}"\n' for name, value in escaped.items())


def systemd_unit(service: Service) -> str:
    """Return the user unit."""
    return f"""\
# Written by `larkd service install`; `larkd service uninstall` removes it.
[Unit]
Description=larkd, Feishu/Lark for coding agents
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={" ".join(map(_quoted, service.command))}
EnvironmentFile=-{_escaped(str(service.environment_file))}
Restart=on-failure
RestartSec=2
RestartPreventExitStatus={_NEVER_AGAIN}
WatchdogSec={WATCHDOG_S}
TimeoutStopSec={STOP_WITHIN_S}
KillMode=mixed
UMask=0077
LimitNOFILE=65536
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK

[Install]
WantedBy=default.target
"""


def launchd_plist(service: Service, environment: Mapping[str, str]) -> str:
    """Return the agent; its variables stand in it, so the file must be 0600."""
    content = {
        "Label": LABEL,
        "ProgramArguments": list(service.command),
        "EnvironmentVariables": dict(environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": STOP_WITHIN_S,
        "Umask": 0o077,
        "StandardErrorPath": str(service.log),
    }
    return plistlib.dumps(content).decode()


def _escaped(word: str) -> str:
    return word.replace("%", "%%")


def _quoted(word: str) -> str:
    """Quote one word of ExecStart; ``%`` and ``$`` mean something there."""
    word = _escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{word}"' if any(c in word for c in " \t'\"\\;") or not word else word
