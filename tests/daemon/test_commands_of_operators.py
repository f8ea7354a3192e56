"""Commands beside a running daemon: stop, backup and restore, log, and top on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pyte
import trio

from actors.host.advice import TRY_IT
from actors.proxies.autostart import Autostart
from protocol.config.places import StateDir
from tests.daemon.test_operator import larkd, output_of, refused
from tests.kit import preloaded
from tests.kit.daemon import environment, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import session
from tests.kit.remedies import lines_in, place_of


async def test_stop_ends_the_daemon_and_autostart_leaves_it_ended(state_dir: Path) -> None:
    async with open_platform() as platform, open_daemon(platform, state_dir) as daemon:
        pid = daemon.process.pid
        shown = await output_of(state_dir, "daemon", "stop")
        assert shown.startswith(f"stopped larkd (pid {pid})")
        assert await daemon.wait(within_s=60) == 0
        assert (state_dir / "stopped").exists()

        autostart = Autostart(StateDir(state_dir), os.environ)
        autostart.nobody_serves()
        assert autostart._started is None
        again = await refused(state_dir, "daemon", "stop")
        assert again == f"larkd daemon stop: larkd is not running on {state_dir}"

        async with open_daemon(platform, state_dir):
            assert not (state_dir / "stopped").exists()


async def test_the_sandbox_is_looked_at_and_started_again_as_the_sandbox(tmp_path: Path) -> None:
    home = environment() | {"HOME": str(tmp_path)}
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        home.pop(name, None)
    state_dir = tmp_path / ".local" / "state" / "larkd-sandbox"
    real = socket.create_server(("127.0.0.1", 0))  # the daemon of that configuration serves
    at = {"port": real.getsockname()[1]}
    config = tmp_path / ".config" / "larkd" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"listen": at, "metrics": at, "console": at}))
    process = await preloaded.start("actors.daemon", ["--sandbox"], home)
    try:
        shown = b""
        with trio.fail_after(60):
            while b"chat page: " not in shown:
                shown += await process.stdout.receive_some()
            of_it = ("--state-dir", str(state_dir))
            looked = await preloaded.run("actors.cli", ["doctor", "--json", *of_it], home)
            stopped = await preloaded.run("actors.cli", ["daemon", "stop", *of_it], home)
            again = await preloaded.run("actors.cli", ["status", *of_it], home)
            assert await process.wait() == 0
    finally:
        process.kill()
        real.close()
    findings = {one["check"]: one for one in json.loads(looked.stdout)["findings"]}
    assert findings["configuration"]["state"] == "ok"
    assert stopped.stdout.decode().endswith("stays stopped until: larkd daemon --sandbox\n")
    assert "start it with: larkd daemon --sandbox" in again.stderr.decode()


@asynccontextmanager
async def open_sandbox(words: Sequence[str], home: Mapping[str, str]) -> AsyncIterator[None]:
    """Run ``larkd daemon`` *words* until its chat page is served; let it end by itself."""
    process = await preloaded.start("actors.daemon", words, home)
    try:
        shown = b""
        with trio.fail_after(60):
            while b"chat page: " not in shown:
                shown += await process.stdout.receive_some()
            yield
            assert await process.wait() == 0
    finally:
        process.kill()


OF_A_SANDBOX = {
    "daemon --sandbox": (),
    "doctor": (),
    "handoff reclaim": (),
    "pair approve AAAAAA": ("larkd pair list",),
    "restore copy": ("larkd daemon stop",),
    "daemon stop": ("larkd daemon --sandbox --listen 127.0.0.1:0",),
    "status": ("larkd daemon --sandbox --listen 127.0.0.1:0",),
    "console": ("larkd daemon --sandbox --listen 127.0.0.1:0",),
    "pair list": ("larkd daemon --sandbox --listen 127.0.0.1:0",),
}
"""What is run on it, in this order, and which remedies that prints, without their place."""


async def test_every_remedy_of_a_sandbox_of_its_own_place_is_for_that_one(tmp_path: Path) -> None:
    home = environment() | {"HOME": str(tmp_path)}
    place = ("--state-dir", str(tmp_path / "a place"))
    remedies: dict[str, list[str]] = {}

    async def run(words: str) -> None:
        given = [str(tmp_path / "copy") if word == "copy" else word for word in words.split()]
        done = await preloaded.run("actors.cli", [*given, *place], home)
        shown = (done.stdout + done.stderr).decode()
        remedies[words] = [line for line in lines_in(shown) if line != TRY_IT]

    async with open_sandbox(["--sandbox", "--listen", "127.0.0.1:0", *place], home):
        await run("backup copy")
        for words in OF_A_SANDBOX:
            await run(words)
    for words, expected in OF_A_SANDBOX.items():
        assert {place_of(line) for line in remedies[words]} <= {(Path(place[1]), None)}, words
        without = [line.replace(f" --state-dir '{place[1]}'", "") for line in remedies[words]]
        assert set(expected) <= set(without), words

    # What the stop printed is what starts it again.
    (again, *_) = remedies["daemon stop"]
    async with open_sandbox(shlex.split(again)[2:], home):
        await run("daemon stop")
    assert remedies["daemon stop"] == [again]


async def test_a_signal_leaves_no_mark(state_dir: Path) -> None:
    async with open_platform() as platform, open_daemon(platform, state_dir) as daemon:
        daemon.signal(signal.SIGTERM)
        assert await daemon.wait(within_s=60) == 0
    assert not (state_dir / "stopped").exists()


async def test_a_backup_of_a_running_daemon_is_whole_and_restores_elsewhere(
    state_dir: Path, tmp_path: Path
) -> None:
    archive, other = tmp_path / "backup.tar.gz", tmp_path / "other"
    async with open_served(state_dir) as platform, session(state_dir, "boss", "dispatcher"):
        await platform.send(await platform.chat(), "kept for later")
        shown = await output_of(state_dir, "backup", str(archive))
        assert shown.startswith(f"{archive}: journal and 3 tokens.")
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
        await output_of(state_dir, "backup", str(archive))  # a backup is replaced by a newer one
        running = await larkd(state_dir, "restore", str(archive))
        assert running.returncode == 3
    with tarfile.open(archive) as members:
        assert set(members.getnames()) == {
            "larkd-backup.json",
            "larkd.db",
            *(f"tokens/{role}.token" for role in ("dispatcher", "session", "observer")),
        }

    shown = await output_of(other, "restore", str(archive))
    assert f"--state-dir {other}" in shown
    journal = sqlite3.connect(other / "larkd.db")
    assert journal.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert journal.execute("SELECT owner FROM lease").fetchone() == ("boss",)
    journal.close()
    assert stat.S_IMODE((other / "larkd.db").stat().st_mode) == 0o600
    for role in ("dispatcher", "session", "observer"):
        name = f"tokens/{role}.token"
        assert (other / name).read_bytes() == (state_dir / name).read_bytes()

    again = await refused(other, "restore", str(archive))
    assert "holds a journal, which would be lost" in again
    async with open_served(other) as platform:
        pass  # it opens


async def test_a_backup_replaces_nothing_else_and_a_broken_one_restores_nothing(
    state_dir: Path, tmp_path: Path
) -> None:
    async with open_served(state_dir):
        precious = tmp_path / "precious.txt"
        precious.write_text("mine")
        done = await larkd(state_dir, "backup", str(precious))
        assert (done.returncode, precious.read_text()) == (2, "mine")
        archive = tmp_path / "b"
        await output_of(state_dir, "backup", str(archive))
    archive.write_bytes(archive.read_bytes()[:-200])
    other = tmp_path / "other"
    done = await larkd(other, "restore", str(archive))
    assert done.returncode in (1, 2)
    assert not (other / "larkd.db").exists()
    assert not list(other.rglob("*.token"))
    assert "no backup of larkd" in await refused(other, "restore", str(precious))


async def test_log_shows_what_became_of_a_message(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir) as daemon,
        session(state_dir, "boss", "dispatcher") as boss,
    ):
        sent = await platform.send(await platform.chat(), "hello")
        delivered = await boss.expect("deliver")
        message = sent["message_id"]
        turn = delivered["turn_id"]
        await boss.send(t="turn_end", turn_id=turn, status="complete", text="hi")
        await daemon.logged('"feishu.card.closed"')
        shown = await output_of(state_dir, "log", message)
        assert shown.splitlines()[0].startswith("journal   ")
        its_card = ("feishu.card.opened", "feishu.card.closed")
        for event in ("feishu.message.received", "row.offered", *its_card):
            assert event in shown, shown
        found = json.loads(await output_of(state_dir, "log", message, "--json"))
        assert (found["version"], found["row"]["message_id"]) == (1, message)
        assert found["row"]["session_id"] == "boss"
        assert "hello" not in shown
        assert "nothing about om_none" in await refused(state_dir, "log", "om_none")
        listed = (await output_of(state_dir, "log")).splitlines()
        assert listed[0].split() == ["RECEIVED", "MESSAGE", "STATE", "CHAT"]
        assert listed[1].split()[2:5:2] == [message, found["row"]["chat_id"]]
        assert "larkd log MESSAGE" in listed[-1]


async def test_top_draws_in_place_and_gives_the_terminal_back(state_dir: Path) -> None:
    screen = pyte.Screen(80, 24)
    stream = pyte.ByteStream(screen)
    master, slave = pty.openpty()
    async with (
        open_served(state_dir),
        session(state_dir, "boss", "dispatcher", metadata={"cwd": "/工作/后端"}),
    ):
        command = [sys.executable, "-m", "actors.cli", "top", "--state-dir", str(state_dir)]
        process = await trio.lowlevel.open_process(
            command,
            stdin=slave,
            stdout=slave,
            stderr=subprocess.PIPE,
            env=environment() | {"COLUMNS": "80", "LINES": "24"},
        )
        os.close(slave)
        try:
            with trio.fail_after(60):
                while not any("后" in line for line in screen.display):
                    await trio.lowlevel.wait_readable(master)
                    stream.feed(os.read(master, 65536))
            assert screen.display[0].startswith("larkd top")
            os.write(master, b"q")
            with trio.fail_after(60):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
            os.close(master)


async def test_status_shows_what_sessions_do_and_which_chats_wait(state_dir: Path) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher", capabilities=["turns"]) as boss,
    ):
        chat = await platform.chat()
        await platform.send(chat, "a long task")
        deliver = await boss.expect("deliver")
        await boss.send(t="ack", event_id=deliver["event_id"], attempt=1)
        await boss.send(t="delta", turn_id=deliver["turn_id"], text="working")
        await platform.wait_cards(1, "working")
        await platform.send(chat, "and another")
        with trio.fail_after(60):
            while True:
                found = json.loads(await output_of(state_dir, "status", "--json"))
                if found["waiting_chats"] and found["waiting_chats"][0]["name"]:
                    break  # its name is asked of the platform, for whoever looks next
        (waiting,) = found["waiting_chats"]
        assert (waiting["chat_id"], waiting["waiting"]) == (chat["chat_id"], 1)
        (one,) = found["sessions"]
        assert isinstance(one["turn_since"], int)
        shown = await output_of(state_dir, "status")
        assert "Alice:  1 waiting, the oldest for " in shown
        assert (waiting["name"], one["turn_chat"]) == (
            "Alice",
            {"account": "default", "chat_id": chat["chat_id"]},
        )
        assert re.search(r"a turn, (\d+m )?\d+s?: Alice ", shown)


async def test_where_the_platform_names_nothing_the_status_shows_ids(state_dir: Path) -> None:
    async with open_served(state_dir) as platform:
        chat = await platform.chat()
        template = "/open-apis/im/v1/chats/:chat_id"
        await platform.post("faults", kind="hang", match={"template": template}, times=None)
        await platform.send(chat, "to nobody yet")
        with trio.fail_after(60):
            while True:
                found = json.loads(await output_of(state_dir, "status", "--json"))
                if found["waiting_chats"]:
                    break
        (waiting,) = found["waiting_chats"]
        assert (waiting["chat_id"], waiting["name"]) == (chat["chat_id"], None)
        assert f"{chat['chat_id']}:  1 waiting, " in await output_of(state_dir, "status")
