"""Starting the daemon from a proxy: what it hands on, and what it reports missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from actors.host import started
from actors.host.arguments import DaemonArguments
from actors.proxies import autostart
from actors.proxies.autostart import (
    Autostart,
    configuration,
    daemon_environment,
    named_variables,
)
from protocol.config.places import StateDir
from tests.kit.daemon import environment


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An agent's environment, and a configuration that names some of it."""
    config = tmp_path / "config.json"
    agents = {"codex": {"command": ["codex-acp"], "env": ["A_KEY", "B_KEY"]}}
    options = {"appId": "cli_0123456789abcdef", "appSecret": {"env": "APP_SECRET"}}
    channels = [{"id": "feishu", "type": "feishu", "options": options}]
    config.write_text(json.dumps({"agents": agents, "channels": channels}))
    return environment() | {
        "LARKD_CONFIG": str(config),
        "LARKD_SESSION_ID": "s",
        "LARKD_INSIDE": "acp",
        "A_KEY": "a",
        "CLAUDE_TOKEN": "t",
    }


def test_what_the_configuration_names_is_handed_on_and_nothing_of_the_session(
    environ: dict[str, str], state_dir: Path
) -> None:
    all_of_it = environ | {"APP_SECRET": "x", "B_KEY": "b"}
    config = configuration(StateDir(state_dir), all_of_it)
    given = daemon_environment(all_of_it, named_variables(config))
    assert {"APP_SECRET", "A_KEY", "B_KEY", "LARKD_CONFIG", "PATH"} <= given.keys()
    assert not {"LARKD_SESSION_ID", "LARKD_INSIDE", "CLAUDE_TOKEN"} & given.keys()


def test_the_configuration_is_the_one_the_daemon_was_started_with_last(
    environ: dict[str, str], state_dir: Path
) -> None:
    named = environ.pop("LARKD_CONFIG")
    state = StateDir(state_dir)
    assert configuration(state, environ | {"XDG_CONFIG_HOME": "/nowhere"}) is None
    state_dir.mkdir()
    started.write(state, DaemonArguments(), Path(named))
    assert configuration(state, environ) == Path(named)
    state.started.unlink()
    (state_dir / "config-in-use").write_text(f"{named}\n")  # of an older larkd
    assert configuration(state, environ) == Path(named)


async def test_a_sandbox_is_left_to_who_started_it(
    environ: dict[str, str], state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = StateDir(state_dir)
    state_dir.mkdir()
    started.write(state, DaemonArguments(sandbox=True, sandbox_port=4711), None)
    starting = Autostart(state, environ)
    for _ in range(2):
        starting.nobody_serves()
    assert starting._started is None
    assert capsys.readouterr().err == (
        f"larkd: the sandbox of {state_dir} does not run; start it: larkd daemon --sandbox"
        f" --sandbox-port 4711 --config {environ['LARKD_CONFIG']} --state-dir {state_dir}\n"
    )


async def test_what_is_missing_is_shown_once_and_that_the_daemon_ended_over_it(
    environ: dict[str, str],
    state_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(autostart, "AGAIN_AFTER_S", 0.0)
    starting = Autostart(StateDir(state_dir), environ)
    for _ in range(2):
        starting.nobody_serves()
        assert starting._started is not None
        await trio.to_thread.run_sync(starting._started.wait)
    starting.nobody_serves()
    missing, ended = capsys.readouterr().err.splitlines()
    assert missing.startswith("larkd: starting larkd without APP_SECRET, B_KEY, which its")
    assert ended.startswith("larkd: the larkd that was started here ended with status 2; what")
    assert starting._started is not None
    await trio.to_thread.run_sync(starting._started.wait)
