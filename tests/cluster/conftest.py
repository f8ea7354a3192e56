from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.cluster.nodes import Certificates

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.made(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def cluster() -> str:
    """A name no other test has."""
    return f"c{next(_numbers)}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path
