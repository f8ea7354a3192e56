"""What is installed is what was looked at: each package of the locks has its hashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^[A-Za-z0-9_.\[\],-]+==")


@pytest.mark.parametrize("name", ["requirements.lock", "runtime.lock"])
def test_every_package_of_a_lock_has_a_hash(name: str) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / name).read_text())
    packages = [one for one in entries if PINNED.match(one)]
    assert len(packages) > 10
    assert all("--hash=sha256:" in one for one in packages)


def test_nothing_is_installed_without_its_hash_and_running_needs_the_smaller_lock() -> None:
    makefile = (ROOT / "Makefile").read_text()
    installed = [line for line in makefile.splitlines() if "$(PIP) " in line and ".lock" in line]
    assert installed
    assert all("--require-hashes" in line for line in installed)
    run = makefile.partition("\nrun: ")[2].partition("\n\n")[0]
    assert run.startswith("$(RUNTIME)")
