"""A test that hangs ends at its limit, named, with the tasks it hung in; the others run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.kit.daemon import environment

HANGS = """
import pytest
import trio

async def waits_for_nothing():
    await trio.Event().wait()

@pytest.mark.timeout(2)
async def test_that_hangs():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits_for_nothing)

def test_after_it():
    assert True
"""


def test_a_test_that_hangs_is_named_with_its_tasks(tmp_path: Path) -> None:
    (tmp_path / "test_hang.py").write_text(HANGS)
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_configure, pytest_timeout_set_timer\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            "1",
            "--timeout",
            "60",
            "--timeout-method",
            "thread",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        capture_output=True,
        env=environment(),
        timeout=280,
        check=False,
    )
    shown = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 1, shown
    assert "crashed while running 'test_hang.py::test_that_hangs'" in shown
    assert "waits_for_nothing" in shown
    assert "await trio.Event().wait()" in shown
    assert "1 failed, 1 passed" in shown
