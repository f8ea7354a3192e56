"""A process that speaks JSON objects, a line each, over its standard input and output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from tests.kit import preloaded
from tests.kit.preloaded import ForkedProcess

Map = dict[str, Any]
LARKD: Final = [sys.executable, "-m", "actors.cli"]


class StdioProcess:
    def __init__(self, process: trio.Process | ForkedProcess) -> None:
        self.process = process
        self._buffer = b""
        self.seen: list[Map] = []
        """Every message received, in order."""
        self._numbers = 0

    async def send_bytes(self, data: bytes) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(data)

    async def send(self, **message: Any) -> None:
        await self.send_bytes(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def receive(self) -> Map:
        """Return the next message; a line that is no JSON object fails the test."""
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            data = await self.process.stdout.receive_some(65_536)
            assert data, "the process closed its output"
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        message: Map = json.loads(line)
        assert isinstance(message, dict), line
        self.seen.append(message)
        return message

    async def until(self, where: Callable[[Map], bool], *, within_s: float = 60) -> Map:
        with trio.fail_after(within_s):
            while True:
                message = await self.receive()
                if where(message):
                    return message

    async def notified(self, method: str, *, within_s: float = 60) -> Map:
        found = await self.until(lambda one: one.get("method") == method, within_s=within_s)
        params: Map = found["params"]
        return params

    async def ask(self, method: str, params: Any = None, number: int | str | None = None) -> Map:
        """Make a request and return the whole answer."""
        if number is None:
            self._numbers += 1
            number = self._numbers
        await self.send(id=number, method=method, **({} if params is None else {"params": params}))
        return await self.until(lambda one: one.get("id") == number and "method" not in one)

    async def tool(self, name: str, **args: Any) -> tuple[bool, str]:
        """Call an MCP tool; return whether it succeeded, and its text."""
        answer = await self.ask("tools/call", {"name": name, "arguments": args})
        result = answer["result"]
        return not result["isError"], result["content"][0]["text"]

    async def close_input(self) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.aclose()

    async def wait(self, *, within_s: float = 60) -> int:
        with trio.fail_after(within_s):
            return await self.process.wait()


@asynccontextmanager
async def open_stdio(
    command: Sequence[str], env: Mapping[str, str], cwd: Path | None = None
) -> AsyncIterator[StdioProcess]:
    """Start the process; kill it at the end. Its standard error is shown."""
    if list(command[: len(LARKD)]) == LARKD:
        process: trio.Process | ForkedProcess = await preloaded.start(
            "actors.cli", command[len(LARKD) :], env, cwd=cwd, stdin=True
        )
    else:
        process = await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(env),
            cwd=None if cwd is None else os.fspath(cwd),
        )
    try:
        yield StdioProcess(process)
    finally:
        if process.returncode is None:
            process.kill()
        with trio.move_on_after(60, shield=True):
            await process.wait()


def larkd(*arguments: str) -> list[str]:
    return [*LARKD, *arguments]
