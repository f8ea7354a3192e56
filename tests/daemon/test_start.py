"""Starting: the errors of the command line when it cannot, and the exit statuses."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.cluster.nodes import Certificates
from tests.daemon.test_operator import larkd
from tests.kit import preloaded
from tests.kit.daemon import (
    Platform,
    configuration,
    environment,
    open_daemon,
    open_platform,
    open_served,
)
from tests.kit.ports import free_port
from tests.kit.raw_proxy import session


async def run(*arguments: str, **env: str) -> tuple[int, str, str]:
    """Run the daemon's command line to its end; return status, stdout and stderr."""
    with trio.fail_after(60):
        done = await preloaded.run("actors.daemon", arguments, environment() | env)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def run_as_a_user(*arguments: str, **env: str) -> tuple[int, str, str]:
    """The same in an interpreter of its own; some tests here, so that this start is tested."""
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-m", "actors.daemon", *arguments],
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            env=environment() | env,
        )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def config_file(platform: Platform, folder: Path, **options: Any) -> Path:
    settings = platform.running.settings
    path = folder / "config.json"
    secret = str(options.pop("appSecret", settings.app_secret))
    path.write_text(configuration(platform.base_url, settings.app_id, secret, **options))
    return path


async def test_every_mistake_of_a_configuration_is_named_at_once(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(
        '{"languge": "en", "listen": {"port": "x"},'
        ' "channels": [{"id": "f", "type": "feishu", "options":'
        ' {"appId": "cli_a1b2c3d4e5f60718", "appSecret": "hush-hush", "replyMode": "loud"}}]}'
    )
    status, _, errors = await run_as_a_user(
        "--config", str(config), "--state-dir", str(tmp_path / "s")
    )
    assert status == 2
    assert "languge: unknown key; did you mean language?" in errors
    assert "listen.port: " in errors
    assert "channels[0].options.replyMode: " in errors
    assert "auto, streaming, static" in errors
    assert "hush-hush" not in errors


async def test_without_any_configuration_it_prints_what_to_write(tmp_path: Path) -> None:
    status, _, errors = await run_as_a_user(
        "--state-dir", str(tmp_path / "s"), XDG_CONFIG_HOME=str(tmp_path)
    )
    assert status == 2
    assert "LARKD_APP_ID" in errors
    assert "--sandbox" in errors


async def test_refused_credentials_end_with_status_4(tmp_path: Path) -> None:
    async with open_platform() as platform:
        config = config_file(platform, tmp_path, appSecret="not-the-secret")
        status, _, errors = await run("--config", str(config), "--state-dir", str(tmp_path / "s"))
        assert status == 4
        assert "not-the-secret" not in errors
        assert "appSecret" in errors
        checked, _, errors = await run("--config", str(config), "--check")
        assert checked == 4
        assert "credentials refused" in errors


async def test_check_prints_who_the_bot_is(tmp_path: Path) -> None:
    async with open_platform() as platform:
        status, output, _ = await run_as_a_user(
            "--config", str(config_file(platform, tmp_path)), "--check"
        )
        assert status == 0
        assert output.startswith("ok: account default (")
        assert "bot larkd (ou_" in output
        assert output.endswith("the long connection opens\n")


async def test_check_and_doctor_open_the_long_connection_too(tmp_path: Path) -> None:
    async with open_platform() as platform:
        config = config_file(platform, tmp_path)
        place = ("--config", str(config), "--state-dir", str(tmp_path / "s"))
        found = json.loads((await larkd(tmp_path / "s", "doctor", "--json", *place[:2])).stdout)
        (link,) = (one for one in found["findings"] if one["check"] == "connection default")
        assert (link["state"], link["found"]) == ("ok", "the long connection opens")
        await platform.post("connections", action="refuse", status=403, times=2)
        status, _, errors = await run(*place, "--check")
        assert status == 1
        assert "the long connection does not open: " in errors
        assert "HTTPS_PROXY" in errors
        found = json.loads((await larkd(tmp_path / "s", "doctor", "--json", *place[:2])).stdout)
        (link,) = (one for one in found["findings"] if one["check"] == "connection default")
        assert link["state"] == "fail"
        assert "HTTPS_PROXY" in link["remedy"]


async def test_check_looks_at_certificate_and_database_too(tmp_path: Path) -> None:
    made = Certificates.made(tmp_path, days=-1)
    tls = {"host": "127.0.0.1", "port": free_port(), "certFile": str(made.cert)}
    async with open_platform() as platform:
        config = config_file(platform, tmp_path)
        raw = json.loads(config.read_text())
        raw["listen"]["tls"] = tls | {"keyFile": str(made.key)}
        address = f"tls://localhost:{tls['port']}"
        database = f"postgresql://127.0.0.1:{free_port()}/larkd"
        raw["cluster"] = {"name": "c", "database": database, "advertise": [address]}
        config.write_text(json.dumps(raw))
        status, output, errors = await run("--config", str(config), "--check")
        assert status == 2
        assert "node.pem expired on " in errors
        assert "start the server, or correct host and port in cluster.database" in errors
        assert output.startswith("ok: account default (")
        status, output, errors = await run("--config", str(config), "--check", "--json")
        expired, away = json.loads(output)["problems"]
        assert "expired" in expired
        assert "the database at 127.0.0.1" in away

        del raw["cluster"]
        raw["listen"]["tls"]["keyFile"] = str(made.ca)
        config.write_text(json.dumps(raw))
        place = ("--config", str(config), "--state-dir", str(tmp_path / "s"))
        status, output, errors = await run(*place)
        assert (status, output) == (2, "")
        assert errors.endswith("and the key must be the certificate's\n")


async def test_a_port_in_use_is_named_with_the_remedy(tmp_path: Path) -> None:
    async with open_platform() as platform:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            config = config_file(platform, tmp_path)
            status, _, errors = await run_as_a_user(
                "--config", str(config), "--state-dir", str(tmp_path / "s"), "--listen", address
            )
        assert status == 1
        assert errors.splitlines()[-1] == (
            f"larkd: can't listen on {address}: Address already in use; another program listens"
            " there; stop it, or choose another address with --listen HOST:PORT"
        )
        assert "Traceback" not in errors
        (logged,) = [
            line
            for line in (tmp_path / "s" / "larkd.log").read_text().splitlines()
            if "daemon.cannot_listen" in line
        ]
        assert json.loads(logged)["address"] == address


@pytest.mark.parametrize("mode", [(), ("--sandbox",)])
@pytest.mark.parametrize("address", ["127.0.0.1:22999999", "0.0.0.0:7345", "127.0.0.1"])
async def test_an_address_that_is_none_is_bad_usage(
    tmp_path: Path, mode: tuple[str, ...], address: str
) -> None:
    config = tmp_path / "config.json"
    config.write_text(configuration("http://127.0.0.1:9", "cli_a1b2c3d4e5f60718", "s"))
    status, _, errors = await run(
        "--config", str(config), "--state-dir", str(tmp_path / "s"), "--listen", address, *mode
    )
    assert status == 2
    assert errors.startswith("larkd: --listen: is a string")
    assert "Traceback" not in errors


async def test_a_check_in_the_sandbox_looks_and_leaves(tmp_path: Path) -> None:
    place = ("--state-dir", str(tmp_path / "s"))
    status, output, errors = await run(
        "--sandbox", "--check", *place, XDG_CONFIG_HOME=str(tmp_path)
    )
    assert (status, errors) == (0, "")
    assert output.startswith("ok: account default (cli_")
    assert not (tmp_path / "s").exists()


async def test_the_keys_of_another_system_get_a_line_and_nothing_else(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    raw = json.loads(configuration("http://127.0.0.1:9", "cli_a1b2c3d4e5f60718", "s"))
    config.write_text(json.dumps({**raw, "plugins": {"allow": ["feishu"]}}))
    status, _, errors = await run("--config", str(config), "--check")
    assert status == 1, "nothing listens there"
    assert errors.splitlines()[0] == "larkd: plugins: means nothing to larkd, ignored"


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
async def test_a_token_that_others_can_read_is_refused_with_the_remedy(state_dir: Path) -> None:
    async with open_platform() as platform:
        async with open_daemon(platform, state_dir):
            pass
        token = state_dir / "tokens" / "session.token"
        token.chmod(0o644)
        config = config_file(platform, state_dir.parent)
        status, _, errors = await run("--config", str(config), "--state-dir", str(state_dir))
        assert status == 2
        assert f"chmod 600 {token}" in errors


async def test_a_journal_of_a_newer_larkd_is_refused_and_untouched(state_dir: Path) -> None:
    async with open_platform() as platform:
        async with open_daemon(platform, state_dir):
            pass
        journal = state_dir / "larkd.db"
        db = sqlite3.connect(journal)
        db.execute("PRAGMA user_version = 999")
        db.close()
        before = journal.read_bytes()
        config = config_file(platform, state_dir.parent)
        status, _, errors = await run("--config", str(config), "--state-dir", str(state_dir))
        assert status == 1
        assert "999" in errors
        assert journal.read_bytes() == before


async def test_the_state_directory_is_private(state_dir: Path) -> None:
    async with open_served(state_dir), session(state_dir, "s"):
        assert state_dir.stat().st_mode & 0o777 == 0o700
        for name in ("larkd.db", "daemon.json", "tokens/observer.token"):
            assert (state_dir / name).stat().st_mode & 0o777 == 0o600, name


async def test_status_of_the_command_line_is_the_daemons(state_dir: Path) -> None:
    command = [sys.executable, "-m", "actors.cli", "status", "--state-dir", str(state_dir)]
    async with open_served(state_dir), session(state_dir, "boss", "dispatcher"):
        done = await trio.run_process(
            command, check=False, capture_stdout=True, capture_stderr=True, env=environment()
        )
    assert done.returncode == 0, done.stderr
    assert "boss" in done.stdout.decode()
