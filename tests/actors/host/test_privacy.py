"""A state directory that others could reach is closed, or refused with what to do."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.host import state_dir
from protocol.config.places import StateDir
from protocol.errors import ConfigurationError


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    made = StateDir(tmp_path / "state")
    state_dir.create(made)
    return made


def refused(state: StateDir) -> str:
    with pytest.raises(ConfigurationError) as caught:
        state_dir.create(state)
    return str(caught.value)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory_others_may_read_is_closed(state: StateDir) -> None:
    state.root.chmod(0o755)
    state_dir.create(state)
    assert mode(state.root) == 0o700


@pytest.mark.parametrize("open_to", [0o775, 0o770, 0o707, 0o777])
def test_a_directory_others_may_write_to_is_refused(state: StateDir, open_to: int) -> None:
    state.root.chmod(open_to)
    assert f"(mode {open_to:04o})" in refused(state)
    assert f"chmod 700 {state.root}" in refused(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_directory_and_files_are_refused(state: StateDir) -> None:
    state.database.touch(0o600)
    os.chown(state.database, 65_534, -1)
    assert "larkd.db belongs to another user (uid 65534); if you trust it: chown" in refused(state)
    os.chown(state.root, 65_534, -1)
    assert "it belongs to another user (uid 65534); run this as that user" in refused(state)


@contextmanager
def bound_by_modes() -> Iterator[None]:
    """Be somebody else than root meanwhile."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have a directory of another user")
def test_who_only_looks_learns_whose_a_directory_is() -> None:
    with tempfile.TemporaryDirectory() as folder, bound_by_modes():
        with pytest.raises(ConfigurationError, match=r"another user \(uid 0\); run this as"):
            state_dir.check_readable(StateDir(Path(folder)))


def test_who_only_looks_learns_that_a_directory_is_closed() -> None:
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, 65_534, -1)
        state = StateDir(Path(folder))
        with bound_by_modes():
            state_dir.check_readable(state)
            state_dir.check_readable(StateDir(state.root / "not there"))
            state.root.chmod(0o000)
            with pytest.raises(ConfigurationError, match=f"mode 0000.*chmod 700 {folder}"):
                state_dir.check_readable(state)
            state.root.chmod(0o700)


@pytest.mark.parametrize("name", ["larkd.db", "larkd.db-wal", "larkd.log", "larkd.lock"])
def test_a_link_in_the_place_of_a_file_is_refused(state: StateDir, name: str) -> None:
    elsewhere = state.root.parent / "elsewhere"
    elsewhere.write_text("mine")
    (state.root / name).symlink_to(elsewhere)
    assert f"{name} is a symbolic link" in refused(state)
    assert elsewhere.read_text() == "mine"


@pytest.mark.parametrize("name", ["larkd.db", "larkd.log"])
def test_a_file_others_may_write_is_closed(state: StateDir, name: str) -> None:
    file = state.root / name
    file.touch()
    file.chmod(0o666)
    state_dir.create(state)
    assert mode(file) == 0o600


@pytest.mark.parametrize("name", ["tokens", "attachments"])
def test_a_link_in_the_place_of_a_directory_is_refused(state: StateDir, name: str) -> None:
    elsewhere = state.root.parent / "elsewhere"
    elsewhere.mkdir()
    (state.root / name).rmdir()
    (state.root / name).symlink_to(elsewhere)
    assert f"{name} is a symbolic link" in refused(state)
