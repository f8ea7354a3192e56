"""A daemon that is killed twenty times loses nothing, doubles nothing, misdirects nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.driver import drive
from tests.faults.history import Delivered, violations


@pytest.mark.parametrize("seed", [1, 2])
async def test_ten_kills_break_no_promise(state_dir: Path, seed: int) -> None:
    history = await drive(seed, cycles=10, state_dir=state_dir)
    assert violations(history) == []
    assert sum(isinstance(one, Delivered) for one in history) > 20, "something was at stake"
