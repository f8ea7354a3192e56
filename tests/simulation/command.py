"""A simulation from the command line: one process after the other begins alike."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

from tests.kit.daemon import environment

HASH_SEED = "0"


def begin_alike(module: str) -> None:
    """Start *module* anew where the order of its sets would be another one each time."""
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])  # noqa: S606 -- ourselves
    gc.collect()
    gc.freeze()  # what is imported need not be looked at before each seed


def simulation(module: str, *arguments: str) -> tuple[int, str]:
    """Run *module* in a process of its own, as a failing seed is run again."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        env=environment() | {"PYTHONHASHSEED": HASH_SEED},
        check=False,
    )
    assert not done.stderr, done.stderr.decode()
    return done.returncode, done.stdout.decode()
