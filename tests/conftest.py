"""Fixtures every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A place for a daemon's state that does not exist yet."""
    return tmp_path / "state"
