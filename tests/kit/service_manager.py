"""A real ``systemd --user``, in mount and process namespaces of its own.

It has its own ``/run`` and its own process ids, a home of the test's and a control group
below this machine's; the network is the machine's. Whatever it started ends with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.kit.daemon import environment

SYSTEMD = Path("/lib/systemd/systemd")
GROUPS = Path("/sys/fs/cgroup")
RUN_WITHIN_S = 120
ENDED_WITHIN_S = 30
IN_NAMESPACES = """\
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system "$XDG_RUNTIME_DIR" || exit 9
chmod 0700 "$XDG_RUNTIME_DIR"
"$0" --user --log-target=null &
for look in $(seq 300); do
  state=$(systemctl --user is-system-running 2>/dev/null)
  case $state in running|degraded) break ;; esac
  sleep 0.1
done
echo $state
echo up
wait
"""


class ServiceManager:
    """The manager of one user, and commands as that user gives them."""

    def __init__(self, namespace: int, home: Mapping[str, str]) -> None:
        self._namespace = namespace
        self._home = home

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run *command* with the home's environment and *variables*, whatever its status."""
        enter = ("nsenter", "-t", str(self._namespace), "-m", "-p", "--wd=/")
        return subprocess.run(
            [*enter, *command],
            env={**self._home, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_WITHIN_S,
        )

    def larkd(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "actors.cli", *arguments, **variables)

    def shown(self, name: str) -> str:
        """Return a property of larkd's unit."""
        return self.run("systemctl", "--user", "show", "-P", name, "larkd").stdout.strip()


@contextmanager
def open_service_manager(home: Path) -> Iterator[ServiceManager]:
    """Start one for a user whose home is *home*; skip the test where that can't be."""
    for program in ("unshare", "nsenter", "systemctl", str(SYSTEMD)):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: install Debian's packages systemd and util-linux")
    if os.geteuid() != 0:
        pytest.skip("namespaces and a control group of its own need root")
    variables = environment() | {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": "/run/user/0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "DBUS_SESSION_BUS_ADDRESS"):
        variables.pop(name, None)
    groups = _own_groups()
    enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    join = "".join(f"echo $$ > '{group}/cgroup.procs' && " for group in groups)
    command = ["sh", "-c", f'{join} exec "$@"', "sh", *enter, "sh", "-c", IN_NAMESPACES]
    try:
        with subprocess.Popen(
            [*command, str(SYSTEMD)],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                printed = []
                for line in process.stdout:
                    printed.append(line)
                    if line == "up\n":
                        break
                if "running\n" not in printed and "degraded\n" not in printed:
                    pytest.skip(f"no systemd --user runs here: {''.join(printed)[:200]}")
                yield ServiceManager(_child_of(process.pid), variables)
            finally:
                process.kill()
    finally:
        for group in groups:
            _remove(group)


def _own_groups() -> list[Path]:
    """Make a control group in each hierarchy that systemd uses."""
    made = []
    for hierarchy in (GROUPS / "systemd", GROUPS / "unified", GROUPS):
        if (hierarchy / "cgroup.procs").exists():
            group = hierarchy / f"larkd-test-{os.getpid()}"
            try:
                group.mkdir()
            except OSError as refused:
                pytest.skip(f"no control group can be made here: {refused.strerror}")
            made.append(group)
    return made


def _child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def _remove(group: Path) -> None:
    """Remove *group* and all below it, once the processes in it have ended."""
    until = time.monotonic() + ENDED_WITHIN_S
    while group.exists() and time.monotonic() < until:
        for path, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(path).rmdir()
        time.sleep(0.02)
