"""Command lines in messages: pasted into any shell of this user, they mean the same daemon."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from actors.cli.parser import build_parser
from actors.host import config_file, started, state_dir
from actors.host.advice import command_for, start_of
from actors.host.arguments import DaemonArguments
from protocol.config import places
from protocol.config.places import StateDir
from protocol.errors import ConfigurationError
from tests.kit.remedies import COMMAND, parsed

ROOT = Path(__file__).parents[3]
USUAL = places.state_dir(None, {}, Path.home())
CONFIG = Path.home() / ".config" / "larkd" / "config.toml"
ELSEWHERE = StateDir(Path("/srv/a state"))
NAMED = {"LARKD_STATE_DIR": "/srv/a state", "LARKD_CONFIG": "/etc/larkd.toml"}

READ_BY_STRANGERS = "who reads it is to learn no path of the machine"
ENTRY = "the name of a command, in front of its own errors or of its usage"
HELP = "help describes the command it belongs to"
WITHOUT_A_DAEMON = "it begins something of its own, wherever it is pasted"
NOT_OURS: Mapping[str, str] = {
    "actors/cli/parser.py": HELP,
    "actors/cli/arguments.py": HELP,
    "actors/proxies/acp_arguments.py": WITHOUT_A_DAEMON,
    "actors/sandbox/__main__.py": ENTRY,
    "actors/cli/main.py": ENTRY,
    "actors/cli/top.py": ENTRY,
    "actors/cli/node.py": ENTRY,
    "actors/cli/restore.py": "it names what wrote the file that is asked for",
    "actors/host/advice.py": WITHOUT_A_DAEMON,
    "actors/host/service.py": "a comment of the unit names what wrote it",
    "actors/proxies/acp.py": ENTRY,
    "actors/proxies/mcp.py": ENTRY,
    "actors/proxies/runner.py": ENTRY,
    "actors/proxies/doctor.py": ENTRY,
    "actors/monitoring/console.py": READ_BY_STRANGERS,
    "protocol/agents/mcp.py": "a model reads it, which runs no command",
    "protocol/config/reading.py": WITHOUT_A_DAEMON,
    "protocol/strings/in_chat.py": READ_BY_STRANGERS,
}
"""Where a command is written out, and why that one is right for every daemon."""


@pytest.mark.parametrize(
    ("state", "config", "env", "options"),
    [
        (USUAL, None, {}, ()),
        (USUAL, CONFIG, {}, ()),
        (USUAL, Path("/etc/larkd.toml"), {}, ("--config", "/etc/larkd.toml")),
        (ELSEWHERE, None, {}, ("--state-dir", "/srv/a state")),
        # In another shell than this one, these variables are not there.
        (ELSEWHERE, None, NAMED, ("--state-dir", "/srv/a state")),
        (USUAL, None, NAMED, ("--state-dir", str(USUAL.root))),
        (USUAL, CONFIG, {"LARKD_CONFIG": "/etc/larkd.toml"}, ("--config", str(CONFIG))),
        (StateDir(Path("here")), None, {}, ("--state-dir", str(Path.cwd() / "here"))),
    ],
)
def test_it_names_the_places_that_not_every_shell_takes(
    state: StateDir, config: Path | None, env: dict[str, str], options: tuple[str, ...]
) -> None:
    line = command_for(state, "doctor", config=config, env=env)
    assert parsed(line) == build_parser().parse_args(["doctor", *options])


def test_a_configuration_without_an_app_names_the_command_that_adds_one(tmp_path: Path) -> None:
    elsewhere = tmp_path / "larkd.toml"
    with pytest.raises(ConfigurationError) as wrong:
        config_file.settings({}, {}, elsewhere)
    assert f"scan: larkd init --config {elsewhere}\n" in str(wrong.value)
    assert f" to {elsewhere}:\n" in str(wrong.value)
    with pytest.raises(ConfigurationError, match=r"scan: larkd init\n.* to ~/\.config/larkd/"):
        config_file.settings({}, {}, CONFIG)


def test_the_words_of_another_program_stay_last() -> None:
    line = command_for(ELSEWHERE, "acp", "--alias", "codex", "--", "codex-acp", env={})
    assert line == "larkd acp --alias codex --state-dir '/srv/a state' -- codex-acp"


@pytest.mark.parametrize(
    ("arguments", "config", "line"),
    [
        (DaemonArguments(), None, "larkd daemon"),
        (DaemonArguments(), Path("/etc/l.toml"), "larkd daemon --config /etc/l.toml"),
        (
            DaemonArguments(sandbox=True, sandbox_port=4711, listen="127.0.0.1:0"),
            None,
            "larkd daemon --sandbox --sandbox-port 4711 --listen 127.0.0.1:0",
        ),
    ],
)
def test_what_was_served_is_started_as_it_was(
    tmp_path: Path, arguments: DaemonArguments, config: Path | None, line: str
) -> None:
    state = StateDir(tmp_path)
    assert start_of(state, env={}) == f"larkd daemon --state-dir {tmp_path}"
    started.write(state, arguments, config)
    assert start_of(state, env={}) == f"{line} --state-dir {tmp_path}"


def test_the_sandbox_has_a_place_of_its_own_without_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where nobody ever started one, with a port
    sandbox = places.sandbox_of(places.state_dir(None, {}, tmp_path))
    assert start_of(sandbox, env={}) == "larkd daemon --sandbox"
    named = start_of(sandbox, env=NAMED)
    assert named == f"larkd daemon --sandbox --state-dir {sandbox.root}"


def test_a_record_that_is_damaged_is_none(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    for content in (b"", b"[]", b'{"sandbox": "yes"}', b"\xff"):
        state_dir.write_private(state.started, content)
        assert started.read(state) is None


def test_every_command_of_a_message_is_written_here() -> None:
    """A command line that is written out names no place, so it means another daemon."""
    written = {
        str(file.relative_to(ROOT))
        for folder in ("actors", "protocol")
        for file in (ROOT / folder).rglob("*.py")
        if any(COMMAND.search(text) for text in texts(ast.parse(file.read_text())))
    }
    assert written == set(NOT_OURS)


def texts(tree: ast.Module) -> Iterator[str]:
    """Every text of a module but for what documents it."""
    documents = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documents:
            yield from (node.value,) if isinstance(node.value, str) else ()
