"""A real terminal: a pane of tmux, typed into and read as a person does."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio


class Pane:
    def __init__(self, command: tuple[str, ...], env: Mapping[str, str]) -> None:
        self._command = command
        self._env = env

    async def tmux(self, *arguments: str) -> str:
        done = await trio.run_process(
            [*self._command, *arguments], env=self._env, capture_stdout=True, capture_stderr=True
        )
        return done.stdout.decode()

    async def type(self, line: str) -> None:
        """Type a line, and the enter key."""
        await self.tmux("send-keys", "-t", "0", "-l", line)
        await self.tmux("send-keys", "-t", "0", "Enter")

    async def clear(self) -> None:
        await self.tmux("send-keys", "-t", "0", "-R")

    async def text(self) -> str:
        """Return what it shows; a line that was broken at its edge is one line."""
        return await self.tmux("capture-pane", "-p", "-J", "-t", "0")

    async def coloured(self) -> str:
        """Return what it shows, line by line, with the codes of its colours."""
        return await self.tmux("capture-pane", "-p", "-e", "-t", "0")

    async def shows(self, pattern: str, *, within_s: float = 90) -> re.Match[str]:
        found: re.Match[str] | None = None
        shown = ""
        with trio.move_on_after(within_s):
            while (found := re.search(pattern, shown := await self.text())) is None:
                await trio.sleep(0.1)
        assert found is not None, f"{pattern} is not in:\n{shown}"
        return found


@asynccontextmanager
async def open_pane(
    folder: Path, env: Mapping[str, str], *, columns: int = 80, lines: int = 70
) -> AsyncIterator[Pane]:
    """Give a shell in a terminal of its own; skip the test where there is no tmux."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux: install Debian's package tmux")
    variables = {**env, "TMUX_TMPDIR": str(folder), "LC_ALL": "C.UTF-8", "PS1": "$ ", "ENV": ""}
    pane = Pane(("tmux", "-u", "-f", "/dev/null", "-L", "tests"), variables)
    await pane.tmux("new-session", "-d", "-x", str(columns), "-y", str(lines), "sh")
    try:
        yield pane
    finally:
        # The server and all that runs in its panes end by this.
        with trio.move_on_after(60, shield=True):
            await pane.tmux("kill-server")
