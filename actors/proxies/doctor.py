"""Asking ``larkd doctor`` from a proxy: a process of its own, so that the proxy stays small."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import trio

from actors.proxies.settings import ProxySettings

WITHIN_S: Final = 20.0


async def ask_doctor(settings: ProxySettings, *, verbose: bool) -> str:
    """Return what the doctor found, as text. Cancelled, the process is killed."""
    command = [sys.executable, "-m", "actors.cli", "doctor"]
    if settings.state_dir is not None:
        command += ["--state-dir", os.fspath(settings.state_dir)]
    if verbose:
        command.append("--verbose")
    with trio.move_on_after(WITHIN_S):
        done = await trio.run_process(
            command, check=False, capture_stdout=True, capture_stderr=True, stdin=subprocess.DEVNULL
        )
        output = (done.stdout or done.stderr).decode(errors="replace").strip()
        return output or f"larkd doctor ended with status {done.returncode} and printed nothing"
    return f"larkd doctor did not answer in {WITHIN_S:g} s"
