"""The child process of an agent, read line by line and ended for sure."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from protocol.agents import starting

END_WITHIN_S: Final = 5.0
"""What ``larkd acp`` takes to end an agent that does not want to."""

RunAgent = Callable[[list[str], Callable[[bytes], None]], Awaitable[int]]
"""Runs a command to its end and returns its status; cancelled, it ends what it started.

Each line that the command writes on its output goes to the second argument.
"""


async def run_process(command: list[str], take: Callable[[bytes], None]) -> int:
    """Run the child to its end; cancelled, it is ended with its agent."""
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with process.stdout:
            await _read_lines(process.stdout, take)
        return await process.wait()
    finally:
        with trio.CancelScope(deadline=trio.current_time() + END_WITHIN_S, shield=True):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()  # noqa: ASYNC102  # shielded above, with a deadline
        if process.returncode is None:
            process.kill()


async def _read_lines(output: trio.abc.ReceiveStream, take: Callable[[bytes], None]) -> None:
    """Pass on each line until the output ends; of one that is too long, the end."""
    rest = b""
    with suppress(trio.BrokenResourceError):
        async for chunk in output:
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-starting.REPORT_BYTES_MAX :]
            for line in lines:
                take(line)
