"""Where larkd keeps what."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.config import places
from protocol.config.places import StateDir
from protocol.wire.vocabulary import ROLES

HOME = Path("/home/ann")


@pytest.mark.parametrize(
    ("explicit", "env", "expected"),
    [
        ("/a", {"LARKD_STATE_DIR": "/b", "XDG_STATE_HOME": "/c"}, "/a"),
        (None, {"LARKD_STATE_DIR": "/b", "XDG_STATE_HOME": "/c"}, "/b"),
        (None, {"LARKD_STATE_DIR": "", "XDG_STATE_HOME": "/c"}, "/c/larkd"),
        (None, {"XDG_STATE_HOME": "relative"}, "/home/ann/.local/state/larkd"),
        (None, {}, "/home/ann/.local/state/larkd"),
    ],
)
def test_the_state_directory(explicit: str | None, env: dict[str, str], expected: str) -> None:
    named = None if explicit is None else Path(explicit)
    assert places.state_dir(named, env, HOME).root == Path(expected)


def test_the_names_in_it_are_the_contracts() -> None:
    found = StateDir(Path("/s"))
    assert found.database == Path("/s/larkd.db")
    assert found.daemon_json == Path("/s/daemon.json")
    assert found.attachments == Path("/s/attachments")
    assert found.log == Path("/s/larkd.log")
    assert found.lock == Path("/s/larkd.lock")
    assert found.console == Path("/s/console.json")
    assert found.started == Path("/s/started.json")
    assert found.stopped == Path("/s/stopped")
    assert [found.token(role) for role in ROLES] == [
        Path("/s/tokens/dispatcher.token"),
        Path("/s/tokens/session.token"),
        Path("/s/tokens/observer.token"),
    ]


@pytest.mark.parametrize(
    ("env", "directory"),
    [
        ({}, "/home/ann/.config/larkd"),
        ({"XDG_CONFIG_HOME": ""}, "/home/ann/.config/larkd"),
        ({"XDG_CONFIG_HOME": "relative"}, "/home/ann/.config/larkd"),
        ({"XDG_CONFIG_HOME": "/c"}, "/c/larkd"),
    ],
)
def test_where_a_configuration_is_looked_for(env: dict[str, str], directory: str) -> None:
    at = Path(directory)
    assert places.config_paths(env, HOME) == (at / "config.toml", at / "config.json")
