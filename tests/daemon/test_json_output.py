"""``--json`` of every command that has it: one map in snake_case, with a version."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import trio

from actors.cli.parser import Subparsers, build_parser
from tests.kit import preloaded
from tests.kit.daemon import environment, open_daemon, open_platform
from tests.kit.raw_proxy import session

SNAKE: Final = re.compile(r"[a-z][a-z0-9_]*")
KEYED_BY_OTHERS: Final = {
    "accounts": "an account's name",
    "bindings": "a chat's id",
    "chat_names": "an account's name",
    "connection": "an account's name",
    "default": "the account of these tests; in chat_names the ids of its chats",
    "metadata": "what a session registered",
    "names": "an open_id or chat_id",
    "refused": "a reason, which is a text",
}
"""Maps whose keys are no names of ours."""
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "status": (),
    "doctor": (),
    "log": ("om_…",),
    "handoff grant": ("mate",),
    "handoff acquire": ("mate",),
    "handoff return": (),
    "handoff reclaim": (),
    "pair list": (),
    "service install": ("--dry-run",),
    "service uninstall": ("--dry-run",),
    "service status": (),
}
ELSEWHERE: Final = {
    "init": "tests/daemon/test_init.py",
    "clusters": "tests/cluster/test_commands.py",
    "handoff": "before its action; tests/daemon/test_operator.py",
}


def with_json(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    """Every command that takes ``--json``."""
    if any("--json" in action.option_strings for action in parser._actions):
        yield name
    for action in parser._actions:
        if isinstance(action, Subparsers):
            for word, inner in action.choices.items():
                yield from with_json(inner, f"{name} {word}".strip())


def test_no_command_is_left_out() -> None:
    assert set(with_json(build_parser())) == COMMANDS.keys() | ELSEWHERE.keys()


def names_in(value: Any, under: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if under not in KEYED_BY_OTHERS:
                yield key
            yield from names_in(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from names_in(inner, under)


async def test_every_one_is_a_map_in_snake_case_with_a_version(
    state_dir: Path, tmp_path: Path
) -> None:
    env = environment() | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir),
        session(state_dir, "boss", "dispatcher", capabilities=["turns"]),
        session(state_dir, "mate", metadata={"alias": "mate", "cwd": "/a", "someKey": "b"}),
    ):
        sent = await platform.send(await platform.chat(), "hello")
        await platform.send(await platform.chat("group", "Team"), "not for the bot")
        for command, arguments in COMMANDS.items():
            given = [sent["message_id"] if word == "om_…" else word for word in arguments]
            words = [*command.split(), *given, "--json", "--state-dir", str(state_dir)]
            with trio.fail_after(60):
                done = await preloaded.run("actors.cli", words, env)
            found = json.loads(done.stdout)
            assert found.pop("version") == 1, command
            assert found, command
            assert not [key for key in names_in(found) if not SNAKE.fullmatch(key)], command
