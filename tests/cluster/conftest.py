from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.nodes import Certificates
from tests.kit import postgres

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """One PostgreSQL server for all tests here; each takes a cluster of its own."""
    with postgres.running() as running:
        yield running


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
