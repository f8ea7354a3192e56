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
    "top": (),
    "doctor": (),
    "log": ("{message}",),
    "console": (),
    "handoff grant": ("mate",),
    "handoff acquire": ("mate",),
    "handoff return": (),
    "handoff reclaim": (),
    "pair list": (),
    "pair approve": ("{code}",),
    "pair revoke": ("{stranger}",),
    "tokens rotate": ("observer",),
    "backup": ("{copy}",),
    "service install": ("--dry-run",),
    "service uninstall": ("--dry-run",),
    "service status": (),
    "channel add": (
        *("feishu", "--app-id", "{app}", "--app-secret-stdin", "--domain", "{platform}"),
        *("--config", "{new}"),
    ),
    "daemon": ("--check", "--config", "{config}"),
    "daemon stop": (),
    "restore": ("{copy}",),
}
"""In this order: the words in braces are of the daemon of the test."""
ELSEWHERE: Final = {
    "init": "tests/daemon/test_init.py",
    "clusters": "tests/cluster/test_commands.py",
    "move": "tests/cluster/test_commands.py",
    "journal move": "tests/cluster/test_commands.py",
}
WITHOUT_RESULT: Final = {
    "acp": "it speaks ACP with its agent",
    "completion": "a script for a shell",
    "mcp": "it speaks MCP",
    "node": "it runs until it is ended",
    "sandbox": "it runs until it is ended",
}


def leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, bool]]:
    """Every command that does something, and whether it takes ``--json``."""
    inner = [action for action in parser._actions if isinstance(action, Subparsers)]
    for action in inner:
        for word, below in action.choices.items():
            yield from leaves(below, f"{name} {word}".strip())
    if not inner:
        yield (name, any("--json" in action.option_strings for action in parser._actions))


def test_every_command_with_a_result_has_it() -> None:
    found = dict(leaves(build_parser()))
    assert {name for name, has_it in found.items() if not has_it} == WITHOUT_RESULT.keys()
    # "daemon stop" is an argument of "daemon", which runs one.
    assert {name for name, has_it in found.items() if has_it} | {"daemon stop"} == (
        COMMANDS.keys() | ELSEWHERE.keys()
    )


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
    results: dict[str, Any] = {}
    async with open_platform() as platform:
        alice, bob = await platform.chat(), await platform.chat(name="Bob")
        app = platform.running.settings
        words = {
            "app": app.app_id,
            "platform": platform.base_url,
            "copy": str(tmp_path / "copy"),
            "config": str(state_dir.parent / f"{state_dir.name}.json"),
            "new": str(tmp_path / "new.toml"),
        }

        async def run(command: str, place: Path) -> None:
            given = [word.format(**words) for word in COMMANDS[command]]
            line = [*command.split(), *given, "--json", "--state-dir", str(place)]
            with trio.fail_after(60):
                done = await preloaded.run("actors.cli", line, env, stdin=app.app_secret.encode())
            found = json.loads(done.stdout)
            assert found.pop("version") == 1, command
            assert found, command
            assert not [key for key in names_in(found) if not SNAKE.fullmatch(key)], command
            results[command] = found

        policy = {"dmPolicy": "pairing", "allowFrom": alice["members"]}
        console = {"host": "127.0.0.1", "port": 0}
        async with (
            open_daemon(platform, state_dir, console=console, **policy) as daemon,
            session(state_dir, "boss", "dispatcher", capabilities=["turns"]) as boss,
            session(state_dir, "mate", metadata={"alias": "mate", "cwd": "/a", "someKey": "b"}),
        ):
            await platform.send(bob, "let me in")
            while "code" not in words:
                await run("pair list", state_dir)
                for asked in results["pair list"]["accounts"]["default"]["pending"]:
                    words |= {"code": asked["code"], "stranger": asked["open_id"]}
            words["message"] = (await platform.send(alice, "hello"))["message_id"]
            await boss.until("deliver")
            for command in COMMANDS:
                if command != "restore":
                    await run(command, state_dir)
            assert await daemon.wait(within_s=60) == 0
        await run("restore", tmp_path / "restored")
    assert results["top"].keys() == results["status"].keys()
    assert results["daemon"]["accounts"][0]["status"] == 0
    assert results["daemon stop"]["pid"] == daemon.process.pid
    assert results["backup"]["made_at"] == results["restore"]["made_at"]
