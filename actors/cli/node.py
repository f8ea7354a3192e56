"""``larkd node DIR``: one machine of a fleet, a child process for each configuration."""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path
from typing import Final

import trio

from actors.cli.output import CommandFailed, Output
from actors.host.exit_status import ExitStatus
from actors.kit.leaving import receive_leaving_signals
from protocol.config.places import StateDir

BACKOFF_FIRST_S: Final = 1.0
BACKOFF_MAX_S: Final = 30.0
STEADY_S: Final = 60.0
"""A child that ran for so long starts its back-off anew."""
LEAVE_WITHIN_S: Final = 30.0
SUFFIXES: Final = {".toml", ".json"}


def run(state: StateDir, parsed: argparse.Namespace) -> Output:
    """Run until a signal; then let every child leave in order.

    Raises:
        CommandFailed: the directory holds no configuration.
    """
    folder: Path = parsed.directory
    if not folder.is_dir():
        raise CommandFailed(f"{folder} is no directory; name the one with the configurations")
    found = sorted(one for one in folder.iterdir() if one.suffix in SUFFIXES)
    if not found:
        raise CommandFailed(
            f"{folder} holds no configuration; put one NAME.toml or NAME.json there for each"
            " cluster this machine may serve"
        )
    trio.run(_serve, found, state)
    return Output("", ExitStatus.ORDERLY)


async def _serve(found: list[Path], state: StateDir) -> None:
    with receive_leaving_signals() as signals:
        async with trio.open_nursery() as nursery:
            for config in found:
                nursery.start_soon(_keep, config, state.root / config.stem)
            async for _number in signals:
                nursery.cancel_scope.cancel(reason="asked to leave")


async def _keep(config: Path, state_dir: Path) -> None:
    """Keep one child running, until cancelled; each has a state directory of its own."""
    pause_s, chance = BACKOFF_FIRST_S, random.Random(os.urandom(8))  # noqa: S311  # jitter
    await trio.Path(state_dir.parent).mkdir(parents=True, exist_ok=True)
    while True:
        began = trio.current_time()
        status = await trio.run_process(
            [
                *(sys.executable, "-m", "actors.daemon"),
                *("--config", str(config), "--state-dir", str(state_dir)),
            ],
            check=False,
            deliver_cancel=_let_leave,
        )
        if trio.current_time() - began >= STEADY_S:
            pause_s = BACKOFF_FIRST_S
        sys.stderr.write(
            f"larkd node: {config.stem} ended with status {status.returncode};"
            f" starting it again in {pause_s:g} s\n"
        )
        await trio.sleep(pause_s * (1 + chance.random() / 4))
        pause_s = min(BACKOFF_MAX_S, pause_s * 2)


async def _let_leave(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(LEAVE_WITHIN_S, shield=True):
        await process.wait()
        return
    process.kill()
