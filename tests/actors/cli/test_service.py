"""The service files, and the commands of the service manager."""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from actors.host import state_dir
from actors.host.service import (
    Service,
    environment_of,
    environment_text,
    launchd_plist,
    systemd_unit,
)
from protocol.config.places import StateDir
from tests.kit.daemon import environment

SERVICE = Service(
    command=("/opt/my python/bin/python", "-m", "actors.cli", "daemon", "--config", "/c/100%.toml"),
    environment_file=Path("/home/a/.config/larkd/service.env"),
    log=Path("/home/a/launchd.log"),
)
CONFIG = """\
agents.codex = { command = ["codex-acp"], env = ["OPENAI_API_KEY"] }
[[channels]]
id = "feishu"
type = "feishu"
options = { appId = "cli_a1b2c3d4e5f60718", appSecret = { env = "MY_SECRET" } }
"""


def test_the_unit_holds_what_systemd_needs() -> None:
    lines = systemd_unit(SERVICE).splitlines()
    assert (
        'ExecStart="/opt/my python/bin/python" -m actors.cli daemon --config /c/100%%.toml' in lines
    )
    for line in ("Type=notify", "Restart=on-failure", "WatchdogSec=30", "NoNewPrivileges=yes"):
        assert line in lines
    assert "RestartPreventExitStatus=2 3 4" in lines


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)"
)
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "larkd.service"
    command = (sys.executable, *SERVICE.command[1:])
    unit.write_text(
        systemd_unit(
            Service(command=command, environment_file=tmp_path / "env", log=tmp_path / "log")
        )
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "larkd.service" not in done.stderr, done.stderr


def test_the_agent_of_launchd_is_a_property_list() -> None:
    found = plistlib.loads(launchd_plist(SERVICE, {"A": "b"}).encode())
    assert found["ProgramArguments"] == list(SERVICE.command)
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["EnvironmentVariables"] == {"A": "b"}


def test_the_service_gets_what_the_configuration_names_and_no_more() -> None:
    env = {"PATH": "/bin", "MY_SECRET": 's"x\\', "OTHER_SECRET": "no", "EMPTY": ""}
    found = environment_of(["MY_SECRET", "EMPTY", "ABSENT"], env)
    assert found == {"PATH": "/bin", "MY_SECRET": 's"x\\'}
    assert environment_text(found) == 'PATH="/bin"\nMY_SECRET="s\\"x\\\\"\n'


@pytest.mark.skipif(sys.platform != "linux", reason="the systemd side")
class TestOnLinux:
    """The command, with a systemctl that writes down its arguments."""

    def larkd(
        self, tmp_path: Path, *arguments: str, named: str = "hush", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        path = tmp_path / ".config" / "larkd" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CONFIG)
        return subprocess.run(
            [sys.executable, "-m", "actors.cli", "service", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment()
            | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config")}
            | {"XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": ""}
            | {"PATH": f"{tmp_path}/bin", "MY_SECRET": named, "UNRELATED": "hush-too"}
            | variables,
        )

    def manager(self, tmp_path: Path, status_of: Mapping[str, int] | None = None) -> Path:
        """Put one there that writes down its commands, and fails those of *status_of*."""
        calls = tmp_path / "calls"
        fails = "".join(
            f'case "$*" in *{word}*) exit {status} ;; esac\n'
            for word, status in (status_of or {}).items()
        )
        for name in ("systemctl", "loginctl"):
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> {calls}\necho active\n{fails}')
            program.chmod(0o755)
        return calls

    def test_install_and_uninstall(self, tmp_path: Path) -> None:
        calls = self.manager(tmp_path)
        done = self.larkd(tmp_path, "install")
        assert (done.returncode, done.stderr) == (0, "")
        unit = tmp_path / ".config" / "systemd" / "user" / "larkd.service"
        assert f"ExecStart={sys.executable} -m actors.cli daemon" in unit.read_text()
        assert "hush" not in unit.read_text()
        variables = tmp_path / ".config" / "larkd" / "service.env"
        assert stat.S_IMODE(variables.stat().st_mode) == 0o600
        assert 'MY_SECRET="hush"' in variables.read_text()
        assert "hush-too" not in variables.read_text()
        assert calls.read_text().splitlines()[:4] == [
            "systemctl --user show-environment",
            "systemctl --user daemon-reload",
            "systemctl --user enable larkd.service",
            "systemctl --user restart larkd.service",
        ]
        assert calls.read_text().splitlines()[4].startswith("loginctl enable-linger ")
        assert self.larkd(tmp_path, "status").stdout == f"{unit}: active\n"
        facts = json.loads(self.larkd(tmp_path, "install", "--json").stdout)
        assert facts == {
            "version": 1,
            "action": "install",
            "file": str(unit),
            "dry_run": False,
            "installed": True,
            "state": "active",
            "lingers": True,
            "linger_command": None,
        }
        facts = json.loads(self.larkd(tmp_path, "status", "--json").stdout)
        assert (facts["installed"], facts["state"]) == (True, "active")

        calls.unlink()
        done = self.larkd(tmp_path, "uninstall")
        assert done.returncode == 0
        assert not unit.exists()
        assert not variables.exists()
        assert calls.read_text().splitlines() == [
            "systemctl --user disable --now larkd.service",
            "systemctl --user daemon-reload",
        ]
        assert self.larkd(tmp_path, "status").returncode == 1
        facts = json.loads(self.larkd(tmp_path, "status", "--json").stdout)
        assert (facts["installed"], facts["state"]) == (False, "not installed")

    def test_a_dry_run_changes_nothing(self, tmp_path: Path) -> None:
        done = self.larkd(tmp_path, "install", "--dry-run", "--state-dir", f"{tmp_path}/s p")
        assert done.returncode == 0
        assert f'--state-dir "{tmp_path}/s p"' in done.stdout
        for action, key in (("install", "content"), ("uninstall", "commands")):
            facts = json.loads(self.larkd(tmp_path, action, "--dry-run", "--json").stdout)
            assert facts["dry_run"] is True
            assert facts[key]
        assert not (tmp_path / ".config" / "systemd").exists()

    def test_without_a_service_manager_there_is_a_reason(self, tmp_path: Path) -> None:
        (tmp_path / "bin").mkdir()
        done = self.larkd(tmp_path, "install")
        assert done.returncode == 1
        assert "systemctl is not here" in done.stderr
        # The real one, of a user who has no manager: as in a container, or after su.
        real = Path(shutil.which("systemctl") or pytest.skip("needs systemctl (Debian: systemd)"))
        (tmp_path / "bin" / "systemctl").symlink_to(real)
        done = self.larkd(tmp_path, "install")
        assert done.returncode == 1
        assert "no service manager serves this user (systemctl --user show-env" in done.stderr
        assert "sudo loginctl enable-linger" in done.stderr
        assert "--dry-run prints the file" in done.stderr
        self.nothing_is_written(tmp_path)

    def nothing_is_written(self, tmp_path: Path) -> None:
        assert not (tmp_path / ".config" / "systemd").exists()
        assert not (tmp_path / ".config" / "larkd" / "service.env").exists()

    def test_a_daemon_that_is_no_service_is_to_end_first(self, tmp_path: Path) -> None:
        self.manager(tmp_path, status_of={"is-active": 3})
        state = StateDir(tmp_path / ".local" / "state" / "larkd")
        state_dir.create(state)
        with state_dir.locked(state):
            done = self.larkd(tmp_path, "install")
        assert done.returncode == 1
        assert f"runs already (pid {os.getpid()}); end it first: larkd daemon stop" in done.stderr
        self.nothing_is_written(tmp_path)

    def test_what_fails_leaves_all_as_it_was(self, tmp_path: Path) -> None:
        calls = self.manager(tmp_path)
        assert self.larkd(tmp_path, "install").returncode == 0
        unit = tmp_path / ".config" / "systemd" / "user" / "larkd.service"
        variables = tmp_path / ".config" / "larkd" / "service.env"
        before = unit.read_text(), variables.read_text()
        calls.unlink()
        self.manager(tmp_path, status_of={"restart": 1})
        done = self.larkd(tmp_path, "install", "--state-dir", str(tmp_path / "other"), named="new")
        assert done.returncode == 1
        assert "restart larkd.service: active; all is as before. Its reason: " in done.stderr
        assert (unit.read_text(), variables.read_text()) == before
        # Its files are back: it is started as it was.
        assert calls.read_text().splitlines()[-1] == "systemctl --user restart larkd.service"

    def test_what_the_service_would_not_get_is_named(self, tmp_path: Path) -> None:
        self.manager(tmp_path)
        done = self.larkd(tmp_path, "install", named="")
        assert done.returncode == 2
        assert "MY_SECRET" in done.stderr
        assert "no LARKD_" not in done.stderr
        done = self.larkd(tmp_path, "install", named="", LARKD_APP_SECRET="hush")
        assert done.returncode == 2
        assert "no LARKD_… of this shell: write these into the configuration" in done.stderr
        self.nothing_is_written(tmp_path)
