"""Claude Code itself with ``larkd mcp``: its model calls our tools; its channel, where it has one.

Run by ``make agents`` and ``make nightly``; skipped where it is not installed.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pyte
import pytest
import trio
from msgspec import Struct

from tests.agents.installed import BIN, KEY, claude_environment, environment
from tests.agents.models import Models, serve_models
from tests.daemon.test_commands import Chat
from tests.kit.daemon import open_daemon, open_platform
from tests.kit.stdio_process import larkd

Map = dict[str, Any]
CLAUDE: Final = BIN / "claude"
DONE_WITHIN_S: Final = 120.0
COLUMNS, LINES = 120, 40

pytestmark = pytest.mark.skipif(
    not CLAUDE.exists(), reason="claude is not installed: run `make agents` (it needs npm)"
)


class ClaudeCode(Struct, frozen=True, kw_only=True):
    chat: Chat
    models: Models
    work: Path
    env: dict[str, str]

    async def run(self, *arguments: str) -> str:
        """Run it without a terminal; return what it printed."""
        with trio.fail_after(DONE_WITHIN_S):
            done = await trio.run_process(
                [str(CLAUDE), *arguments],
                cwd=self.work,
                env=self.env,
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        return (done.stdout + done.stderr).decode()

    async def ask(self, prompt: str) -> str:
        return await self.run("-p", prompt, "--allowedTools", "mcp__feishu")


@asynccontextmanager
async def claude_code(state_dir: Path, tmp_path: Path) -> AsyncIterator[ClaudeCode]:
    """A daemon, the sandbox, the stand-in models, and a home with ``larkd mcp`` in it."""
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    models = Models()
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve_models, models)
        env = {
            **environment(home),
            **claude_environment(home, url),
            # Else the first request goes out before the servers are connected, and the model
            # has to wait for them by a tool.
            "MCP_CONNECTION_NONBLOCKING": "0",
        }
        proxy = {
            "LARKD_STATE_DIR": str(state_dir),
            "LARKD_ROLE": "dispatcher",
            "LARKD_AUTOSTART": "0",
        }
        settings = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            "projects": {str(work): {"hasTrustDialogAccepted": True}},
        }
        (home / ".claude").mkdir(exist_ok=True)
        (home / ".claude" / ".claude.json").write_text(json.dumps(settings))
        async with open_platform() as platform:
            person = await platform.chat()
            async with open_daemon(platform, state_dir):
                it = ClaudeCode(chat=Chat(platform, person), models=models, work=work, env=env)
                named = [part for key, value in proxy.items() for part in ("-e", f"{key}={value}")]
                await it.run("mcp", "add", "feishu", "-s", "user", *named, "--", *larkd("mcp"))
                yield it
        nursery.cancel_scope.cancel()


async def test_it_lists_the_server_as_connected(state_dir: Path, tmp_path: Path) -> None:
    async with claude_code(state_dir, tmp_path) as it:
        listed = await it.run("mcp", "list")
        assert "feishu" in listed, listed
        assert "Connected" in listed, listed


async def test_its_model_calls_the_tools(state_dir: Path, tmp_path: Path) -> None:
    async with claude_code(state_dir, tmp_path) as it:
        status = await it.ask("tool feishu_channel_status")
        assert "The tool gave: " in status, status
        assert "effective_target_session_id" in status

        sent = await it.chat.send("is anybody there?")
        inbox = await it.ask("tool inbox")
        assert "is anybody there?" in inbox, inbox

        reply = {
            "chat_id": it.chat.chat["chat_id"],
            "message_id": sent["message_id"],
            "text": "Claude is here.",
        }
        assert "Sent to " in await it.ask(f"tool reply {json.dumps(reply)}")
        texts = [one["content"] for one in await it.chat.platform.messages(it.chat.chat)]
        assert any("Claude is here." in text for text in texts), texts

        wrong = await it.ask('tool reply {"chat_id": "oc_nowhere", "text": "x"}')
        assert "was never given a message from chat oc_nowhere" in wrong, wrong


async def test_channel_messages_arrive_or_it_prints_why_not(
    state_dir: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async with claude_code(state_dir, tmp_path) as it:
        async with terminal(
            it, "--dangerously-load-development-channels", "server:feishu"
        ) as screen:
            shown = await screen.until("Channels", "for shortcuts", "Enter to confirm")
            if "Enter to confirm" in shown:
                await screen.press(b"\r")
                shown = await screen.until("for shortcuts", "Channels are not")
            refusal = [line.strip(" ▎") for line in shown.splitlines() if "Channels are" in line]
            if refusal:
                record_property("remark", f"of its channel it prints: {refusal[0]}")
                return
            await it.chat.send("text over the channel")
            with trio.fail_after(DONE_WITHIN_S):
                while '<channel source=\\"feishu\\"' not in json.dumps(it.models.requests):
                    await trio.sleep(0.2)


# ── a terminal ──────────────────────────────────────────────────────────────


class Screen:
    """What a person would see of a program on a terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)

    async def read(self) -> None:
        """Draw what the program writes, until it ends."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                data = os.read(self._fd, 65_536)
            except OSError:
                return
            if not data:
                return
            self._stream.feed(data)

    async def until(self, *any_of: str) -> str:
        """Wait until one of the words is on the screen and it has settled; return the screen."""
        before = ""
        with trio.fail_after(DONE_WITHIN_S):
            while True:
                await trio.sleep(1)
                shown = "\n".join(line.rstrip() for line in self._screen.display)
                if shown == before and any(word in shown for word in any_of):
                    return shown
                before = shown

    async def press(self, keys: bytes) -> None:
        await trio.lowlevel.wait_writable(self._fd)
        os.write(self._fd, keys)


@asynccontextmanager
async def terminal(it: ClaudeCode, *arguments: str) -> AsyncIterator[Screen]:
    """Run it on a terminal of its own; killed at the end."""
    ours, its_own = pty.openpty()
    fcntl.ioctl(its_own, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    env = {**it.env, "TERM": "xterm-256color"}
    process = await trio.lowlevel.open_process(
        [str(CLAUDE), *arguments],
        cwd=it.work,
        env=env,
        stdin=its_own,
        stdout=its_own,
        stderr=its_own,
        start_new_session=True,
    )
    os.close(its_own)
    screen = Screen(ours)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.read)
            yield screen
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.move_on_after(60, shield=True):
            await process.wait()
        os.close(ours)
