"""Packages from npm, as locked: installed once a virtual environment, for all that need them."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

KEPT: Final = Path(sys.prefix) / "node-packages"
INSTALL: Final = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
INSTALLED_WITHIN_S: Final = 300


def installed(folder: Path, scripts: Sequence[str] = ()) -> Path:
    """Return a place that holds the packages locked in *folder*, and *scripts* of it beside.

    It is another one when any of these changes. Skip the test where the machine has no Node.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no Node: install Debian's packages nodejs and npm")
    names = ("package.json", "package-lock.json", *scripts)
    whole = b"\0".join((folder / name).read_bytes() for name in names)
    kept = KEPT / hashlib.sha256(whole).hexdigest()[:16]
    KEPT.mkdir(exist_ok=True)
    with _alone(kept.with_suffix(".lock")):
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=KEPT) as part:
                place = Path(part, "place")
                place.mkdir()
                for name in names:
                    shutil.copy(folder / name, place)
                done = subprocess.run(
                    INSTALL,
                    cwd=place,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=INSTALLED_WITHIN_S,
                )
                assert done.returncode == 0, done.stdout + done.stderr
                place.rename(kept)
    return kept


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process of tests at a time install."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
