"""A daemon that is killed again and again loses nothing, doubles nothing, misdirects nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.faults.driver import drive
from tests.faults.history import Delivered, violations
from tests.kit.sizes import NIGHTLY, examples

CYCLES: Final = examples(5)


@pytest.mark.parametrize("seed", [1, 2])
async def test_kills_at_any_moment_break_no_promise(state_dir: Path, seed: int) -> None:
    history = await drive(seed, cycles=CYCLES, state_dir=state_dir, at_stake=2 * CYCLES)
    assert violations(history) == []
    delivered = sum(isinstance(one, Delivered) for one in history)
    assert delivered >= 2 * CYCLES, "something was at stake"


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("round_trip_s", [0.15, 1.0] if NIGHTLY else [0.15])
async def test_kills_beside_a_slow_platform_break_no_promise(
    state_dir: Path, round_trip_s: float
) -> None:
    history = await drive(
        3, cycles=30 if NIGHTLY else 3, state_dir=state_dir, round_trip_s=round_trip_s, at_stake=1
    )
    assert violations(history) == []
    assert any(isinstance(one, Delivered) for one in history), "something was at stake"
