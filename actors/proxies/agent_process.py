"""An agent's process: in a group of its own, with little of our environment, ended for sure."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import trio

from actors.kit.redaction import Redaction

PASSED: Final = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
CLOSE_WITHIN_S: Final = 0.5
TERMINATE_WITHIN_S: Final = 2.0
KILL_WITHIN_S: Final = 2.0
TAIL_LINES: Final = 10
TAIL_LINE_CHARACTERS_MAX: Final = 400
TAIL_S: Final = 10.0
"""What it wrote longer ago has nothing to do with its end."""


class AgentNotStarted(Exception):
    """The command can't be run; the text is why."""


class AgentProcess:
    """A running agent, and the last it wrote to standard error."""

    def __init__(self, process: trio.Process, redaction: Redaction) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.stdin = process.stdin
        self.stdout = process.stdout
        self._stderr = process.stderr
        self._process = process
        self._redaction = redaction
        self._stderr_read = trio.Event()
        self._tail: deque[tuple[float, str]] = deque(maxlen=TAIL_LINES)
        self.wrote: Callable[[str], None] = lambda _line: None
        """Called with each line of its standard error; must not block."""

    async def read_stderr(self) -> None:
        """Keep the last lines, for whoever asks why it ended."""
        rest = b""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for chunk in self._stderr:
                *lines, rest = (rest + chunk).split(b"\n")
                rest = rest[-TAIL_LINE_CHARACTERS_MAX:]
                for line in lines:
                    self._keep(line)
        self._keep(rest)
        self._stderr_read.set()

    def _keep(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        # Stack traces are indented below their first line; the message stands outside of them.
        if text and not text[0].isspace() and not text.startswith("Traceback "):
            shown = self._redaction.text(text)[:TAIL_LINE_CHARACTERS_MAX]
            self._tail.append((trio.current_time(), shown))
            self.wrote(shown)

    async def how_it_ended(self) -> str:
        """Describe it; waits a moment for the process to be gone."""
        with trio.move_on_after(CLOSE_WITHIN_S):
            await self._process.wait()
            await self._stderr_read.wait()
        status = self._process.returncode
        ended = "the agent closed its output"
        if status is not None:
            ended = (
                f"the agent was killed by signal {-status}"
                if status < 0
                else f"the agent ended with status {status}"
            )
        return "\n".join((ended, *self.tail()))

    def tail(self) -> list[str]:
        """Return the last lines it wrote on standard error in the last seconds."""
        since = trio.current_time() - TAIL_S
        return [line for at, line in self._tail if at >= since]

    async def end(self) -> None:
        """End the whole group: close its input, then SIGTERM, then SIGKILL.

        It shields itself: a few seconds at most.
        """
        with trio.CancelScope(
            deadline=trio.current_time() + CLOSE_WITHIN_S + TERMINATE_WITHIN_S + KILL_WITHIN_S,
            shield=True,
        ):
            await trio.aclose_forcefully(self.stdin)
            with trio.move_on_after(CLOSE_WITHIN_S):
                await self._process.wait()
            # The leader may be gone and others of its group not: the group is asked.
            for number, within_s in (
                (signal.SIGTERM, TERMINATE_WITHIN_S),
                (signal.SIGKILL, KILL_WITHIN_S),
            ):
                if not self._signal(number):
                    break
                with trio.move_on_after(within_s):
                    await self._gone()

    async def _gone(self) -> None:
        await self._process.wait()
        while self._signal(0):  # noqa: ASYNC110  # nothing notifies of a group's end
            await trio.sleep(0.02)

    def _signal(self, number: int) -> bool:
        """Signal the group; return whether there is one."""
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


async def start_agent(
    command: Sequence[str],
    cwd: str,
    extra: Mapping[str, str],
    environment: Mapping[str, str],
    inside: Mapping[str, str],
) -> AgentProcess:
    """Start the agent in its own process group.

    It gets a few variables of *environment*, *inside* (which session it works for), and
    *extra*, whose values are taken out of everything it writes to standard error.

    Raises:
        AgentNotStarted: there is no such command, or it can't be run.
    """
    redaction = Redaction()
    for value in extra.values():
        redaction.register(value)
    try:
        process = await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={key: environment[key] for key in PASSED if key in environment}
            | dict(inside)
            | dict(extra),
            start_new_session=True,
        )
    except OSError as failed:
        # Else it names the directory.
        absent = isinstance(failed, FileNotFoundError) and failed.filename == command[0]
        remedy = "; install it, or name it by its whole path" if absent else ""
        raise AgentNotStarted(
            f"{command[0]} can't be started in {cwd}: {failed.strerror or failed}{remedy}"
        ) from failed
    return AgentProcess(process, redaction)
