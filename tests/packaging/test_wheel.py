"""What is in the wheel: the two packages, their types and pages, and nothing beside."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (made,) = target.glob("*.whl")
    return zipfile.ZipFile(made)


def test_only_the_two_packages_are_installed(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"actors", "protocol"}
    assert not [name for name in wheel.namelist() if "__pycache__" in name or "test_" in name]


def test_types_and_pages_are_there(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {"actors/py.typed", "protocol/py.typed"} <= names
    in_source = {
        str(path.relative_to(ROOT))
        for package in ("actors", "protocol")
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".html", ".js", ".css", ".svg", ".py"}
    }
    assert in_source <= names


def test_the_description_stands_alone(wheel: zipfile.ZipFile) -> None:
    (path,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(path))
    urls = [line.partition(", ")[0] for line in metadata.get_all("Project-URL", [])]
    assert {"Homepage", "Documentation", "Changelog", "Issues"} == set(urls)
    assert metadata["License-Expression"] == "MIT"
    description = wheel.read(path).decode().partition("\n\n")[2]
    targets = re.findall(r"\]\(([^)]+)\)", description)
    assert targets
    assert not [target for target in targets if not target.startswith(("https://", "#"))]
