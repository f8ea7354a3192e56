"""``larkd init`` on the sandbox's registration endpoint: by a scan, and with an app that exists."""

from __future__ import annotations

import html
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyte
import trio

from actors.host import config_file
from tests.kit import preloaded
from tests.kit.browser import open_browser
from tests.kit.daemon import Platform, environment, open_platform, open_served
from tests.kit.tmux import Pane, open_pane

LARKD = [sys.executable, "-m", "actors.cli"]
COLOUR = re.compile(r"(\x1b\[[\d;]*m)")
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
        with trio.move_on_after(60, shield=True):
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

    async def until(self, pattern: str | re.Pattern[str], within_s: float = 60) -> re.Match[str]:
        with trio.fail_after(within_s):
            while not (found := re.search(pattern, self.seen)):
                await trio.lowlevel.wait_readable(self._master)
                data = os.read(self._master, 65536)
                self._stream.feed(data)
                self.seen += data.decode(errors="replace")
        return found

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    async def ended(self, within_s: float = 60) -> int:
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


SYSTEMCTL = """#!/bin/sh
# A service manager that starts what it is given.
case "$*" in
*restart*) command=$(sed -n 's/^ExecStart=//p' "$XDG_CONFIG_HOME/systemd/user/larkd.service")
  setsid $command >/dev/null 2>&1 </dev/null & echo $! >"$HOME/service.pid" ;;
esac
"""


def with_service_manager(tmp_path: Path) -> dict[str, str]:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("loginctl", "#!/bin/sh\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    home = home_of(tmp_path)
    path = f"{programs}:{Path(sys.executable).parent}:{home['PATH']}"
    # Another larkd may have the usual port of this machine.
    return home | {"PATH": path, "LARKD_LISTEN": "127.0.0.1:0"}


async def test_from_an_empty_home_to_a_streaming_card(tmp_path: Path) -> None:
    env = with_service_manager(tmp_path)
    async with open_platform() as platform:
        async with open_pane(tmp_path, env) as pane:
            await pane.type(f"larkd init --domain {platform.base_url}")
            link = (await pane.shows(LINK.pattern))[0]
            await pane.shows(r"Waiting for the scan, \d+:\d\d left")
            code = [line for line in (await pane.text()).splitlines() if "▄" in line or "█" in line]
            assert len(code) > 30, "the QR code is drawn"
            await scan(platform, link)
            await pane.shows(r"as a service of yours\? \[Y/n\]")
            await pane.type("")
            await pane.shows("Then write to the bot")
            shown = await pane.text()
            await photograph(pane)
        try:
            config = config_of(tmp_path)
            (account,) = config_file.settings(config_file.load(config), {}, config).accounts
            assert account.app_secret.reveal() not in shown
            assert account.policy.admins == account.policy.allow_from
            (scanned_by,) = account.policy.admins
            assert_all_is_shown(shown, scanned_by)

            # The one who scanned is admitted from the start, and gets a card.
            await platform.wait_connected()
            echo = [sys.executable, "-m", "actors.proxies.echo", "--session-id", "echo"]
            async with run_beside([*echo, "--role", "dispatcher"], tmp_path):
                state = await platform.get("state")
                (chat,) = (one for one in state["chats"] if one["app_id"] == account.app_id)
                await platform.send(chat, "hello", sender=scanned_by)
                await platform.wait_cards(1, "hello")
        finally:
            os.kill(int((tmp_path / "service.pid").read_text()), signal.SIGKILL)


def assert_all_is_shown(shown: str, scanned_by: str) -> None:
    for line in (
        "✅ every scope larkd needs is granted",
        "✅ the long connection opens",
        f"✅ {scanned_by}, who scanned, is admin",
        "✅ account default in ~/.config/larkd/config.toml; its secret in ~/.config/larkd/cli_",
        "installed ~/.config/systemd/user/larkd.service, and started it",
        "it runs also while you are logged out",
        "claude mcp add -s user feishu -- larkd mcp",
        "larkd acp --alias codex -- codex-acp",
    ):
        assert line in shown


async def photograph(pane: Pane) -> None:
    """Keep the terminal as a picture, where pictures are asked for."""
    folder = os.environ.get("LARKD_SCREENSHOTS")
    if folder is None:
        return
    shown, own_colours = "", False
    for piece in re.split(COLOUR, (await pane.coloured()).rstrip()):
        if not COLOUR.fullmatch(piece):
            shown += html.escape(piece)
        elif ("97" in piece or "40" in piece) is not own_colours:  # the QR code begins, or ends
            own_colours = not own_colours
            shown += "<b>" if own_colours else "</b>"
    page = (
        "<style>body{margin:0}b{font-weight:400;color:#fff;background:#000}"
        "pre{margin:0;padding:16px 20px;width:max-content;color:#1f2328;background:#f6f8fa;"
        # A cell of 8 by 16 whole pixels, or the squares of the code are no squares.
        "font:14px/16px 'DejaVu Sans Mono','Noto Color Emoji';letter-spacing:-.428px}"
        f"</style><pre>{shown}</pre>"
    )
    with open_browser(900, 1400) as browser:
        metrics = {"width": 900, "height": 1400, "deviceScaleFactor": 2, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get("data:text/html;charset=utf-8," + quote(page))
        picture = browser.find_element("tag name", "pre").screenshot_as_png
    Path(folder, "init.png").write_bytes(picture)


async def test_a_service_that_can_not_be_had_is_not_offered_and_a_no_is_a_no(
    tmp_path: Path,
) -> None:
    async with open_platform() as platform:
        app = platform.running.settings
        given = f"--app-id {app.app_id} --app-secret-stdin --domain {platform.base_url}"
        env = with_service_manager(tmp_path)
        async with open_pane(tmp_path, env) as pane:
            # Its secret comes by the standard input, so nobody can be asked there.
            await pane.type(f"echo {app.app_secret} | larkd init {given}")
            assert "as a service" not in (await pane.shows("(?s).*Then write to the bot"))[0]
            assert await offered(platform, pane) == "Run larkd always, as a service of yours? [Y/n]"
            await pane.type("n")
            assert "larkd service install" in (await pane.shows("(?s).*Then write to the bot"))[0]
            (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\nexit 1\n")
            assert await offered(platform, pane) == "Then write to the bot."
        assert not (tmp_path / "service.pid").exists()


async def offered(platform: Platform, pane: Pane) -> str:
    """Set up one more app by a scan; return how it ends."""
    await pane.clear()
    await pane.type(f"larkd init --domain {platform.base_url}")
    await scan(platform, (await pane.shows(LINK.pattern))[0])
    return (await pane.shows(r"Run larkd always.*\]|Then write to the bot\."))[0]


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
        with trio.move_on_after(60, shield=True):
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


async def test_a_device_code_that_is_none_is_named(tmp_path: Path) -> None:
    async with open_platform() as platform:
        done = await larkd(tmp_path, "init", "--device-code", "none", "--domain", platform.base_url)
    assert done.returncode == 1
    assert "the platform knows no such device code" in done.stderr.decode()
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


async def test_who_does_not_answer_which_of_the_two_writes_nothing(tmp_path: Path) -> None:
    async with open_terminal(tmp_path, "init") as terminal:
        await terminal.until(r"Feishu \(飞书\) or Lark\? \[feishu\] ")
        terminal.type(b"\x04")  # Ctrl-D
        assert await terminal.ended() == 1
    assert "nothing was written" in terminal.seen
    assert "Traceback" not in terminal.seen
    assert not (tmp_path / ".config").exists()


async def test_what_can_not_be_proven_is_named_and_so_is_who_takes_messages_away(
    tmp_path: Path, state_dir: Path
) -> None:
    async with open_served(state_dir) as platform:
        app = platform.running.settings
        await platform.post("scopes", listed=False)
        given = ("--app-id", app.app_id, "--app-secret-stdin", "--domain", platform.base_url)
        done = await larkd(tmp_path, "init", *given, stdin=app.app_secret.encode())
        shown = done.stdout.decode()
        unproven = "im:message.p2p_msg:readonly, im:message.group_at_msg:readonly"
        assert f"❔ not known whether granted: {unproven}" in shown
        assert "1 other connection of this app is open" in shown
        again = (*given, "--force", "--json")
        done = await larkd(tmp_path, "init", *again, stdin=app.app_secret.encode())
        found = json.loads(done.stdout)
        assert (", ".join(found["unknown"]), found["missing"]) == (unproven, [])
        assert found["other_connections"] == 1


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
