"""Runs with faults by seed, over two nodes: no promise of several machines is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.cluster.driver import drive
from tests.cluster.nodes import Certificates
from tests.cluster.promises import violations
from tests.kit.sizes import NIGHTLY

SEEDS = (1, 2)


@pytest.mark.timeout(900)
async def test_two_seeds_break_no_promise(root: Path, certificates: Certificates) -> None:
    """Both at once: what they wait for is time."""
    broken: dict[int, list[str]] = {}

    async def one(seed: int) -> None:
        folder = root / str(seed)
        folder.mkdir()
        run = await drive(seed, folder, certificates, faults=2, longest_s=3.0)
        assert len(run.given) > 10, "something was at stake"
        broken[seed] = violations(run)

    async with trio.open_nursery() as nursery:
        for seed in SEEDS:
            nursery.start_soon(one, seed)
    assert broken == {seed: [] for seed in SEEDS}


@pytest.mark.skipif(not NIGHTLY, reason="takes an hour; `make nightly` runs it")
@pytest.mark.parametrize("seed", range(500) if NIGHTLY else ["all"])
async def test_five_hundred_seeds(seed: int, root: Path, certificates: Certificates) -> None:
    run = await drive(seed, root, certificates, faults=5, longest_s=20.0)
    assert violations(run) == []
