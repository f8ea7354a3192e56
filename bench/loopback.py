"""A sandbox platform and a daemon as processes of their own, for the benches to drive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
USERS = 210
"""A chat and a turn each, at most."""
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


class Process:
    """A child process, and the kernel's figures of it."""

    def __init__(self, process: trio.Process, started_s: float) -> None:
        self.process = process
        self.started_s = started_s

    def cpu_s(self) -> float:
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS_PER_S

    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * PAGE_KB / 1024

    def peak_rss_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return 0.0


class Loopback:
    """The sandbox's control API, and the daemon's state directory."""

    def __init__(
        self,
        sandbox: Process,
        daemon: Process,
        page_url: str,
        state_dir: Path,
        users: list[str],
    ) -> None:
        self.users = users
        self.base_url = page_url.partition("/sandbox/")[0]
        self.sandbox = sandbox
        self.daemon = daemon
        self.state_dir = state_dir
        self.http = _control_client(page_url)

    async def get(self, path: str, **params: Any) -> Any:
        return (await self.http.get(f"/{path}", params=params)).json()

    async def post(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(f"/{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    async def chats(self, count: int) -> list[str]:
        """Make *count* direct chats, each with a user of its own."""
        made = []
        for number, user in enumerate(self.users[:count]):
            chat = await self.post("chats", type="p2p", name=f"User {number}", members=[user])
            made.append(chat["chat_id"])
        return made


@asynccontextmanager
async def open_loopback(
    folder: Path,
    *sandbox_options: str,
    prepare: Callable[[Path, list[str]], None] = lambda _state_dir, _users: None,
) -> AsyncIterator[Loopback]:
    """Start both, wait until the bot listens; end both by signal.

    ``prepare(state_dir, users)`` is called before the daemon starts.
    """
    sandbox, lines = await start(["actors.sandbox", *sandbox_options], lambda text: "appId" in text)
    base_url = next(line for line in lines if line.startswith("domain ")).split()[1]
    app_id, secret = lines[-1].split()[1], lines[-1].split()[3]
    config = folder / "config.json"
    page_url = next(line for line in lines if "chat page " in line).rpartition(" ")[2]
    options = {
        "appId": app_id,
        "appSecret": secret,
        "domain": base_url,
        "dmPolicy": "open",
        "allowFrom": (users := await _make_users(page_url)),  # whose commands are obeyed
    }
    channel = {"id": "feishu", "type": "feishu", "options": options}
    config.write_text(json.dumps({"listen": {"port": 0}, "channels": [channel]}))
    state_dir = folder / "state"
    prepare(state_dir, users)
    daemon, _ = await start(
        ["actors.daemon", "--config", str(config), "--state-dir", str(state_dir)],
        lambda text: "larkd ready on" in text,
    )
    loopback = Loopback(sandbox, daemon, page_url, state_dir, users)
    try:
        with trio.fail_after(10):
            while not any(one["pings"] for one in await loopback.get("connections")):
                await trio.sleep(0.05)
        yield loopback
    finally:
        with trio.move_on_after(20, shield=True):
            await loopback.http.aclose()
            for one in (daemon, sandbox):
                one.process.terminate()
                await one.process.wait()


def _control_client(page_url: str) -> httpx.AsyncClient:
    base_url, _, token = page_url.partition("/sandbox/?token=")
    return httpx.AsyncClient(
        base_url=f"{base_url}/sandbox",
        headers={"X-Sandbox-Token": token},
        timeout=60,
        trust_env=False,
    )


async def _make_users(page_url: str) -> list[str]:
    async with _control_client(page_url) as http:
        return [
            (await http.post("/users", json={"name": f"User {number}"})).json()["open_id"]
            for number in range(USERS)
        ]


async def start(command: list[str], ready: Any) -> tuple[Process, list[str]]:
    """Start a module as a process; return it, and what it wrote until it was ready."""
    started = time.monotonic()
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={key: value for key, value in os.environ.items() if not key.startswith("LARKD_")},
    )
    assert process.stdout is not None
    output = ""
    with trio.fail_after(20):
        while not ready(output):
            chunk = await process.stdout.receive_some(4096)
            if not chunk:
                raise RuntimeError(f"{command[0]} ended before it was ready: {output}")
            output += chunk.decode()
    return Process(process, time.monotonic() - started), output.splitlines()


def percentile(values: list[float], share: float) -> float:
    """Return the value below which *share* of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def table(rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name.ljust(width)}  {value}")
