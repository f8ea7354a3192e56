"""What a sandbox keeps over restarts is its owner's alone."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from actors.sandbox.kept import Kept, NotKept, read_or_make
from tests.kit.daemon import environment


def test_what_was_made_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.json"
    made = read_or_make(path, random.Random(1))
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_make(path, random.Random(2)) == made
    assert made != Kept()


def open_to_others(path: Path) -> None:
    read_or_make(path, random.Random(1))
    path.chmod(0o640)


def a_link(path: Path) -> None:
    other = path.with_name("other.json")
    read_or_make(other, random.Random(1))
    path.symlink_to(other)


def no_json(path: Path) -> None:
    path.touch(mode=0o600)


@pytest.mark.parametrize("prepare", [open_to_others, a_link, no_json])
def test_a_file_that_cannot_be_trusted_is_named_with_the_remedy(
    tmp_path: Path, prepare: object
) -> None:
    path = tmp_path / "sandbox.json"
    assert callable(prepare)
    prepare(path)
    with pytest.raises(NotKept, match="remove it") as refused:
        read_or_make(path, random.Random(2))
    assert str(path) in str(refused.value)


def test_the_command_reports_it_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.json"
    open_to_others(path)
    command = [sys.executable, "-m", "actors.sandbox", "--keep", os.fspath(path)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment(), check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("larkd sandbox: --keep: ")
