"""``larkd service`` under a real service manager of the user, where the machine has systemd."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import trio

from tests.kit.daemon import Platform, open_platform
from tests.kit.service_manager import ServiceManager, open_service_manager
from tests.kit.sizes import NIGHTLY

ODD = 'a "b" \\c $HOME %h `d` \n 漢 #;'
"""What a line of an environment file could be misread in."""


def config_of(home: Path) -> Path:
    return home / ".config" / "larkd" / "config.toml"


def unit_of(home: Path) -> Path:
    return home / ".config" / "systemd" / "user" / "larkd.service"


def write_config(platform: Platform, home: Path) -> None:
    app = platform.running.settings
    path = config_of(home)
    path.parent.mkdir(parents=True)
    path.write_text(f"""\
listen = {{ port = 0 }}
agents.codex = {{ command = ["codex-acp"], env = ["ODD"] }}
[[channels]]
id = "feishu"
type = "feishu"
[channels.options]
appId = "{app.app_id}"
appSecret = "{app.app_secret}"
domain = "{platform.base_url}"
""")


async def test_it_runs_comes_back_is_replaced_and_goes(tmp_path: Path) -> None:
    async with open_platform() as platform:
        write_config(platform, tmp_path)
        await trio.to_thread.run_sync(a_service_of, tmp_path)


def a_service_of(home: Path) -> None:
    with open_service_manager(home) as manager:
        refused_where_it_does_not_start(manager, home)

        done = manager.larkd("service", "install", ODD=ODD)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == f"installed {unit_of(home)}, and started it"
        assert "sudo loginctl enable-linger" in done.stdout, "nothing here could let it linger"
        assert manager.shown("StatusText").startswith("serving on 127.0.0.1:")
        first = manager.shown("MainPID")
        variables = manager.run("cat", f"/proc/{first}/environ").stdout.split("\0")
        assert f"ODD={ODD}" in variables

        manager.run("systemctl", "--user", "kill", "-s", "KILL", "larkd")
        second = another_than(first, manager)
        if NIGHTLY:
            manager.run("kill", "-STOP", second)
            second = another_than(second, manager)

        done = manager.larkd("service", "install", ODD="of today")
        assert done.returncode == 0, done.stderr
        third = manager.shown("MainPID")
        assert third != second, "what was written now counts"
        variables = manager.run("cat", f"/proc/{third}/environ").stdout.split("\0")
        assert "ODD=of today" in variables

        stopped = manager.larkd("daemon", "stop")
        assert stopped.returncode == 0, stopped.stderr
        # The process is gone before its manager has seen that.
        until = time.monotonic() + 120
        while manager.shown("ActiveState") in ("active", "deactivating"):
            assert time.monotonic() < until, "the service manager sees no end of it"
            time.sleep(0.2)
        found = json.loads(manager.larkd("service", "status", "--json").stdout)
        assert (found["installed"], found["state"]) == (True, "inactive"), "it left in order"

        done = manager.larkd("service", "uninstall")
        assert done.returncode == 0, done.stderr
        nothing_is_installed(manager, home)


def refused_where_it_does_not_start(manager: ServiceManager, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = config_of(home).read_text()
        port = taken.getsockname()[1]
        config_of(home).write_text(text.replace("port = 0", f"port = {port}"))
        done = manager.larkd("service", "install")
        config_of(home).write_text(text)
    assert done.returncode == 1
    assert "nothing is installed. Its reason: journalctl --user -u larkd.service" in done.stderr
    assert done.stderr.rstrip().endswith("or larkd daemon --check")
    nothing_is_installed(manager, home)


def nothing_is_installed(manager: ServiceManager, home: Path) -> None:
    assert not unit_of(home).exists()
    assert not (config_of(home).parent / "service.env").exists()
    assert manager.shown("LoadState") == "not-found"


def another_than(pid: str, manager: ServiceManager, within_s: float = 120) -> str:
    """Wait until the unit is ready again with another process than *pid*; return that."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        now = manager.shown("MainPID")
        if now not in (pid, "0") and manager.shown("ActiveState") == "active":
            return now
        time.sleep(0.2)
    raise AssertionError("it was not started again")
