"""The service files, and the commands of the service manager."""

from __future__ import annotations

import json
import plistlib
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from actors.host.service import (
    Service,
    environment_of,
    environment_text,
    launchd_plist,
    systemd_unit,
)
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


def test_the_unit_says_what_systemd_needs() -> None:
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

    def larkd(self, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
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
            | {"PATH": f"{tmp_path}/bin", "MY_SECRET": "hush", "UNRELATED": "hush-too"},
        )

    def manager(self, tmp_path: Path, status: int = 0) -> Path:
        calls = tmp_path / "calls"
        for name in ("systemctl", "loginctl"):
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(
                f'#!/bin/sh\necho "{name} $*" >> {calls}\necho active\nexit {status}\n'
            )
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
        assert calls.read_text().splitlines()[:2] == [
            "systemctl --user daemon-reload",
            "systemctl --user enable --now larkd.service",
        ]
        assert calls.read_text().splitlines()[2].startswith("loginctl enable-linger ")
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
        self.manager(tmp_path, status=3)
        done = self.larkd(tmp_path, "install")
        assert (done.returncode, "daemon-reload: active" in done.stderr) == (1, True)
