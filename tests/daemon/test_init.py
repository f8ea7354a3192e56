"""``larkd init`` on the sandbox's registration endpoint: by a scan, and with an app that exists."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyte
import trio

from actors.host import config_file
from tests.kit import preloaded
from tests.kit.daemon import Platform, environment, open_platform

LARKD = [sys.executable, "-m", "actors.cli"]
LINK = re.compile(r"http://127\.0\.0\.1:\d+/page/launcher\?\S+")


def home_of(tmp_path: Path) -> dict[str, str]:
    """A home in which larkd never was."""
    return environment() | {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / ".config"),
        "XDG_STATE_HOME": str(tmp_path / ".local" / "state"),
    }


def config_of(tmp_path: Path) -> Path:
    return tmp_path / ".config" / "larkd" / "config.toml"


async def larkd(
    tmp_path: Path, *arguments: str, stdin: bytes = b"", within_s: float = 60
) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(within_s):
        return await preloaded.run("actors.cli", arguments, home_of(tmp_path), stdin=stdin)


@asynccontextmanager
async def open_terminal(tmp_path: Path, *arguments: str) -> AsyncIterator[Terminal]:
    """Run ``larkd`` on a terminal of 80 columns, as a person sees it."""
    master, slave = pty.openpty()
    process = await trio.lowlevel.open_process(
        [*LARKD, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=home_of(tmp_path) | {"COLUMNS": "80", "LINES": "100"},
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.returncode is None:
            process.kill()
        os.close(master)
        with trio.move_on_after(5, shield=True):
            await process.wait()


class Terminal:
    def __init__(self, process: trio.Process, master: int) -> None:
        self.process = process
        self._master = master
        self._screen = pyte.Screen(80, 100)
        self._stream = pyte.ByteStream(self._screen)
        self.seen = ""

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    async def until(self, pattern: str | re.Pattern[str], within_s: float = 40) -> re.Match[str]:
        with trio.fail_after(within_s):
            while not (found := re.search(pattern, self.seen)):
                await trio.lowlevel.wait_readable(self._master)
                data = os.read(self._master, 65536)
                self._stream.feed(data)
                self.seen += data.decode(errors="replace")
        return found

    async def ended(self, within_s: float = 30) -> int:
        """Read what is still drawn, and wait for the process."""
        with trio.fail_after(within_s):
            while True:
                await trio.lowlevel.wait_readable(self._master)
                try:
                    data = os.read(self._master, 65536)
                except OSError:
                    break
                self._stream.feed(data)
                self.seen += data.decode(errors="replace")
            return await self.process.wait()


async def scan(platform: Platform, link: str, **more: Any) -> None:
    await platform.post("registrations", url=link, **more)


async def test_from_an_empty_home_to_a_streaming_card(tmp_path: Path) -> None:
    began = time.monotonic()
    async with open_platform() as platform:
        async with open_terminal(tmp_path, "init", "--domain", platform.base_url) as terminal:
            link = (await terminal.until(LINK))[0].replace("\r", "")
            await terminal.until(r"Waiting for the scan, (10:00|9:\d\d) left")
            code = [line for line in terminal.lines if "▄" in line or "█" in line]
            assert len(code) > 30, "the QR code is drawn"
            await scan(platform, link)
            assert await terminal.ended() == 0, terminal.seen
        shown = "\n".join(terminal.lines)
        assert "✅ every scope larkd needs is granted" in shown
        assert "✅ the long connection opens" in shown
        assert "claude mcp add -s user feishu -- larkd mcp" in shown
        config = config_of(tmp_path)
        (account,) = config_file.settings(config_file.load(config), {}, config).accounts
        assert account.app_secret.reveal() not in terminal.seen
        assert account.policy.admins == account.policy.allow_from
        (scanned_by,) = account.policy.admins

        # The one who scanned is admitted from the start, and gets a card.
        async with open_larkd(tmp_path, "daemon", "--listen", "127.0.0.1:0") as daemon:
            await daemon_ready(daemon)
            await platform.wait_connected()
            echo = [sys.executable, "-m", "actors.proxies.echo", "--session-id", "echo"]
            async with run_beside([*echo, "--role", "dispatcher"], tmp_path):
                state = await platform.get("state")
                (chat,) = (
                    one
                    for one in state["chats"]
                    if one.get("app_id") == account.app_id or one["name"] == "larkd"
                )
                await platform.send(chat, "hello", sender=scanned_by)
                await platform.wait_cards(1, "hello")
    assert time.monotonic() - began < 60


@asynccontextmanager
async def open_larkd(tmp_path: Path, *arguments: str) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(
        [*LARKD, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=home_of(tmp_path),
    )
    try:
        yield process
    finally:
        process.kill()
        with trio.move_on_after(5, shield=True):
            await process.wait()


async def daemon_ready(process: trio.Process) -> None:
    assert process.stdout is not None
    output = b""
    with trio.fail_after(20):
        async for data in process.stdout:
            output += data
            if b"larkd ready on " in output:
                return
    raise AssertionError(output)


@asynccontextmanager
async def run_beside(command: list[str], tmp_path: Path) -> AsyncIterator[None]:
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=home_of(tmp_path),
    )
    try:
        yield
    finally:
        process.kill()
        with trio.move_on_after(5, shield=True):
            await process.wait()


async def test_a_script_begins_and_goes_on_later(tmp_path: Path) -> None:
    async with open_platform() as platform:
        domain = ("--domain", platform.base_url)
        done = await larkd(tmp_path, "init", "--no-wait", "--json", *domain)
        begun = json.loads(done.stdout)
        assert (done.returncode, begun["version"]) == (0, 1)
        assert not config_of(tmp_path).exists()
        await scan(platform, begun["link"])
        done = await larkd(
            tmp_path, "init", "--json", "--device-code", begun["device_code"], *domain
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["app_id"].startswith("cli_")
        assert (found["connected"], found["missing"], found["unknown"]) == (True, [], [])
        assert found["config"] == str(config_of(tmp_path))

        # Once more: another app goes beside the first one.
        begun = json.loads((await larkd(tmp_path, "init", "--no-wait", "--json", *domain)).stdout)
        await scan(platform, begun["link"])
        done = await larkd(
            tmp_path, "init", "--json", "--device-code", begun["device_code"], *domain
        )
        assert json.loads(done.stdout)["account"] != "default"
        config = config_of(tmp_path)
        assert len(config_file.settings(config_file.load(config), {}, config).accounts) == 2


async def test_a_code_is_renewed_once(tmp_path: Path) -> None:
    async with open_platform() as platform:
        await platform.post("registrations/settings", interval_s=1, expires_s=1)
        done = await larkd(tmp_path, "init", "--domain", platform.base_url)
        assert done.returncode == 1
        assert len(LINK.findall(done.stdout.decode())) == 2
        assert "nobody scanned in time; nothing was written" in done.stderr.decode()
        assert not config_of(tmp_path).exists()


async def test_a_denied_scan_and_an_interrupted_one_write_nothing(tmp_path: Path) -> None:
    async with open_platform() as platform:
        for stop in ("deny", "interrupt"):
            async with open_terminal(tmp_path, "init", "--domain", platform.base_url) as terminal:
                link = (await terminal.until(LINK))[0]
                if stop == "deny":
                    await scan(platform, link, action="deny")
                else:
                    await terminal.until("Waiting for the scan")
                    terminal.process.send_signal(signal.SIGINT)
                assert await terminal.ended() == 1
            assert "nothing was written" in terminal.seen
            assert not (tmp_path / ".config").exists()


async def test_a_tenant_of_lark_is_asked_for_at_lark(tmp_path: Path) -> None:
    async with open_platform() as platform:
        domain = ("--domain", platform.base_url)
        begun = json.loads((await larkd(tmp_path, "init", "--no-wait", "--json", *domain)).stdout)
        await scan(platform, begun["link"], tenant_brand="lark")
        done = await larkd(
            tmp_path, "init", "--json", "--device-code", begun["device_code"], *domain
        )
        assert done.returncode == 0, done.stderr


async def test_an_app_that_exists_is_taken_without_a_scan(tmp_path: Path) -> None:
    async with open_platform() as platform:
        app = platform.running.settings
        given = ("--app-id", app.app_id, "--app-secret-stdin", "--domain", platform.base_url)
        done = await larkd(tmp_path, "init", *given, stdin=b"wrong")
        assert (done.returncode, done.stdout.count(b"\n")) == (4, 1)
        assert not config_of(tmp_path).exists()

        await platform.post("scopes", missing=["cardkit:card:write"])
        done = await larkd(tmp_path, "init", *given, stdin=app.app_secret.encode())
        assert done.returncode == 0, done.stderr
        shown = done.stdout.decode()
        assert "❌ not granted: cardkit:card:write" in shown
        page = f"{platform.base_url}/app/{app.app_id}/auth?q=cardkit:card:write"
        assert page in shown

        before = config_of(tmp_path).read_text()
        again = await larkd(tmp_path, "init", *given, stdin=app.app_secret.encode())
        assert again.returncode == 2
        assert config_of(tmp_path).read_text() == before
        forced = await larkd(tmp_path, "init", *given, "--force", stdin=app.app_secret.encode())
        assert forced.returncode == 0


async def test_wrong_arguments_ask_nobody(tmp_path: Path) -> None:
    done = await larkd(tmp_path, "init", "--app-id", "cli_a1b2c3d4e5f60718")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--app-id and --app-secret-stdin go together" in done.stderr
    config_of(tmp_path).parent.mkdir(parents=True)
    config_of(tmp_path).write_text("{}")
    done = await larkd(tmp_path, "init", "--domain", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert b"holds JSON" in done.stderr
    config_of(tmp_path).unlink()
    done = await larkd(tmp_path, "init", "--domain", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert b"can't be reached" in done.stderr
