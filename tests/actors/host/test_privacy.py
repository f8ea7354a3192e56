"""A state directory that others could reach is closed, or refused with what to do."""

from __future__ import annotations

import os
import stat
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
