"""The processes of another bot in the bench of cards, and the text that they are given.

Each has a pipe that holds more than all text of its turns: a bot whose loop is busy holds up
nobody else, and the generator keeps to its times whatever becomes of it.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio

from bench.loopback import Loopback, Process, percentile
from bench.other_bots import Task
from bench.streaming import TOKENS

PIPE_BYTES = 2**20


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What a generator really did; wall time in milliseconds, by chat."""

    chats: list[str]
    began_ms: float
    tokens: dict[str, int]
    ended_ms: dict[str, float]
    lag_s: float


class OtherBot(msgspec.Struct, frozen=True):
    """One process of another bot, and the turns that it is to show."""

    process: Process
    stdin: trio.abc.SendStream
    output: AsyncIterator[bytes]
    """The lines that it marks."""
    chats: list[str]


@asynccontextmanager
async def other_bot(task: Task) -> AsyncIterator[OtherBot]:
    """Start it. It does not outlive the block."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", "from bench.other_bots import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert isinstance(process.stdin, trio.lowlevel.FdStream)
        assert process.stdout is not None
        fcntl.fcntl(process.stdin.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        await process.stdin.send_all(msgspec.json.encode(task) + b"\n")
        started_s = time.monotonic()
        yield OtherBot(
            Process(process, started_s),
            process.stdin,
            _marked_lines(process.stdout),
            task.chats,
        )
    finally:
        process.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            await process.wait()


async def feed(bots: list[OtherBot], rate: float, seconds: float) -> Sent:
    """Give every turn its tokens at their rate, whatever becomes of them."""
    began, began_ms = trio.current_time(), time.time() * 1000
    lags_s: list[float] = []
    count = int(rate * seconds)
    for number in range(count):
        due = began + number / rate
        await trio.sleep_until(due)
        lags_s.append(trio.current_time() - due)
        token = TOKENS[number % len(TOKENS)]
        for bot in bots:
            await bot.stdin.send_all(_lines(bot, f" {token}"))
    ended_ms = time.time() * 1000
    for bot in bots:
        await bot.stdin.send_all(_lines(bot, ""))
    chats = [chat for bot in bots for chat in bot.chats]
    return Sent(
        chats=chats,
        began_ms=began_ms,
        tokens=dict.fromkeys(chats, count),
        ended_ms=dict.fromkeys(chats, ended_ms),
        lag_s=percentile(lags_s, 0.99),
    )


def _lines(bot: OtherBot, text: str) -> bytes:
    return "".join(f"{one}{text}\n" for one in range(len(bot.chats))).encode()


async def _marked_lines(stdout: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    rest = b""
    while chunk := await stdout.receive_some(65_536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"@"):  # their library prints, too
                yield line[1:]
    raise RuntimeError("the other bot ended before its turns did")


@asynccontextmanager
async def platform_only(loopback: Loopback) -> AsyncIterator[tuple[str, str]]:
    """End the daemon; the platform stays for another bot. Gives the app's id and secret."""
    loopback.daemon.process.terminate()
    await loopback.daemon.process.wait()
    config = json.loads((loopback.state_dir.parent / "config.json").read_text())
    options = config["channels"][0]["options"]
    yield options["appId"], options["appSecret"]
