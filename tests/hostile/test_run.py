"""The hostile beside the honest, by seed: a moment in each run of the tests, long at night."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.run import run
from tests.kit.sizes import NIGHTLY

SEEDS = range(100) if NIGHTLY else range(1)
SECONDS = 20.0 if NIGHTLY else 3.0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures with /proc")
@pytest.mark.parametrize("seed", SEEDS)
async def test_nobody_honest_notices(seed: int, tmp_path: Path) -> None:
    report = await run(seed, SECONDS, tmp_path)
    print(report)  # noqa: T201  # for whoever looks at a failure
    assert report.answered > 1
    assert report.commands
    assert report.attacks
    assert report.acts
