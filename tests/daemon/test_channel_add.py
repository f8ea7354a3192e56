"""``larkd channel add`` against a platform that takes the credentials, refuses them, or is away."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import trio

from actors.host import config_file
from tests.kit import preloaded
from tests.kit.daemon import environment, open_platform

OTHER = "cli_0000000000000000"


async def channel_add(
    home: Path, app_id: str, secret: str, *more: str
) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(60):
        return await preloaded.run(
            "actors.cli",
            ["channel", "add", "feishu", "--app-id", app_id, "--app-secret-stdin", *more],
            environment() | {"XDG_CONFIG_HOME": str(home), "HOME": str(home)},
            stdin=secret.encode(),
        )


async def test_an_app_is_proven_and_written(tmp_path: Path) -> None:
    config = tmp_path / "larkd" / "config.toml"
    async with open_platform() as platform:
        app = platform.running.settings
        done = await channel_add(
            tmp_path, app.app_id, app.app_secret + "\n", "--domain", platform.base_url
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert f"to {config}" in done.stdout.decode()
        assert app.app_secret.encode() not in done.stdout + config.read_bytes()
        (account,) = config_file.settings(config_file.load(config), {}, config).accounts
        assert (account.app_id, account.base_url) == (app.app_id, platform.base_url)

        done = await channel_add(tmp_path, OTHER, "wrong", "--domain", platform.base_url)
        assert (done.returncode, done.stdout) == (4, b"")
        assert "nothing was written" in done.stderr.decode()
        assert OTHER not in config.read_text()


async def test_a_platform_that_is_away_proves_nothing_and_keeps_nobody(tmp_path: Path) -> None:
    done = await channel_add(tmp_path, OTHER, "s", "--domain", "http://127.0.0.1:9")
    assert done.returncode == 0
    assert done.stdout.decode().startswith("not proven: http://127.0.0.1:9")
    assert OTHER in (tmp_path / "larkd" / "config.toml").read_text()


@pytest.mark.parametrize(
    ("app_id", "secret", "more", "wanted"),
    [
        ("my-app", "s", (), "--app-id: is a string; allowed: an App ID"),
        (OTHER, "", (), "standard input: holds no app secret"),
        (OTHER, "two words", (), "standard input: holds no app secret"),
        (OTHER, "s", ("--domain", "http://example.com"), "--domain: is plain http"),
    ],
)
async def test_wrong_arguments_write_nothing(
    tmp_path: Path, app_id: str, secret: str, more: tuple[str, ...], wanted: str
) -> None:
    done = await channel_add(tmp_path, app_id, secret, *more)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"larkd channel: {wanted}")
    assert not (tmp_path / "larkd").exists()
