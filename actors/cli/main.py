"""The ``larkd`` command. Each subcommand imports what it needs when it is chosen."""

from __future__ import annotations

import argparse
import importlib
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors.cli.arguments import (
    add_handoff,
    add_pair,
    add_state_dir,
    add_tokens,
    parse_daemon_arguments,
)
from actors.proxies.acp_arguments import acp_settings, add_acp

if TYPE_CHECKING:
    from protocol.config.places import StateDir

DONE: Final = 0
FAILED: Final = 1
BAD_CONFIGURATION: Final = 2

DESCRIPTION: Final = """\
One daemon owns a Feishu/Lark bot's long connection and gives it to many
coding-agent sessions; their answers stream into live cards.
"""
MCP_DESCRIPTION: Final = """\
A stdio MCP server that is a Claude Code channel: messages of Feishu arrive in the
session, and its tools answer them. Your MCP client starts it; with Claude Code:

  claude mcp add -s user feishu -- larkd mcp
  claude --dangerously-load-development-channels server:feishu

Environment: LARKD_ROLE=dispatcher for the coordinating session (else session),
LARKD_SESSION_ID, LARKD_TEAMMATE_NAME, LARKD_STATE_DIR; LARKD_AUTOSTART=0 leaves the
daemon alone where it does not run.
"""
EPILOG: Final = """\
examples:
  larkd daemon --sandbox    try it in a minute: no Feishu app needed
  larkd daemon              run with ~/.config/larkd/config.toml
  larkd status              who hears the user, what waits, which sessions are live
  larkd status --json       the same, for scripts
  larkd handoff acquire api let the session api hear the user
  larkd doctor              what is wrong, and what to do about it
  larkd acp --alias codex -- codex-acp
                            let an agent answer in Feishu
  larkd pair approve K7M2QX let in who was shown this code
  larkd tokens rotate session
                            make a new token; the old one proves nothing any more

`larkd COMMAND --help` says more. Exit status: 0 done, 1 failed, 2 bad usage or
configuration, 3 another larkd is running, 4 Feishu refused the credentials
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return FAILED
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(arguments: list[str]) -> int:
    # These two read their own arguments, also --help.
    if arguments[:1] == ["daemon"]:
        return _daemon(arguments[1:])
    if arguments[:1] == ["sandbox"]:
        return _sandbox(arguments[1:])
    parsed = _parser().parse_args(arguments)
    if parsed.command == "mcp":
        return _mcp(parsed)
    if parsed.command == "acp":
        return _acp(parsed)
    if parsed.command == "doctor":
        return _doctor(parsed)
    return _answer(parsed)


def _parser() -> argparse.ArgumentParser:
    from protocol import __version__  # noqa: PLC0415  # only here

    parser = argparse.ArgumentParser(
        prog="larkd",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"larkd {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("daemon", help="run the daemon", add_help=False)
    status = commands.add_parser(
        "status",
        help="show the state of the running daemon",
        description="Ask the running daemon who hears the user, what waits and who is connected.",
        allow_abbrev=False,
    )
    status.add_argument("--json", action="store_true", help="print the whole status as JSON")
    add_state_dir(status)
    add_handoff(commands)
    add_pair(commands)
    add_tokens(commands)
    doctor = commands.add_parser(
        "doctor",
        help="look for what is wrong, each finding with its remedy",
        description="Check credentials, scopes, connection, queue, disk, tokens, versions and"
        " clock. Works without a running daemon, and never prints a secret.",
        allow_abbrev=False,
    )
    doctor.add_argument("--config", metavar="FILE", type=Path, help="as for the daemon")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.add_argument("--verbose", action="store_true", help="show also what is in order")
    add_state_dir(doctor)
    mcp = commands.add_parser(
        "mcp",
        help="attach an MCP client, such as Claude Code, over stdio",
        description=MCP_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_state_dir(mcp)
    add_acp(commands)
    commands.add_parser(
        "sandbox", help="run the stand-in platform and its chat page alone", add_help=False
    )
    return parser


def _daemon(argv: list[str]) -> int:
    parse_daemon_arguments(argv)  # bad usage and --help are answered before the slow imports
    return int(importlib.import_module("actors.daemon").main(argv))


def _sandbox(argv: list[str]) -> int:
    return int(importlib.import_module("actors.sandbox.__main__").main(argv) or DONE)


def _doctor(parsed: argparse.Namespace) -> int:
    from actors.cli import doctor  # noqa: PLC0415  # only for this command
    from protocol.config import places  # noqa: PLC0415  # likewise

    state = places.state_dir(getattr(parsed, "state_dir", None), os.environ, Path.home())
    findings = doctor.examine(state, parsed.config, os.environ, time.time_ns() // 1_000_000)
    text, exit_status = doctor.report(findings, as_json=parsed.json, verbose=parsed.verbose)
    print(text)  # noqa: T201  # the command's output
    return exit_status


def _mcp(parsed: argparse.Namespace) -> int:
    from actors.proxies import mcp  # noqa: PLC0415  # trio, which --help can do without
    from protocol.config import places  # noqa: PLC0415  # likewise

    state = places.state_dir(getattr(parsed, "state_dir", None), os.environ, Path.home())
    try:
        return mcp.main(state, os.environ)
    except ValueError as wrong:
        print(f"larkd mcp: {wrong}", file=sys.stderr)  # noqa: T201  # the command's output
        return BAD_CONFIGURATION


def _acp(parsed: argparse.Namespace) -> int:
    import trio  # noqa: PLC0415  # --help can do without

    from actors.proxies import acp  # noqa: PLC0415  # likewise

    try:
        settings = acp_settings(parsed, os.environ)
    except ValueError as wrong:
        print(f"larkd acp: {wrong}", file=sys.stderr)  # noqa: T201  # the command's output
        return BAD_CONFIGURATION
    return trio.run(acp.run, settings)


def _answer(parsed: argparse.Namespace) -> int:
    """Do what needs the state directory; print the outcome."""
    from actors.cli.operator import Declined, Unavailable  # noqa: PLC0415  # trio, which --help can do without
    from protocol.config import places  # noqa: PLC0415  # likewise
    from protocol.config.settings import ConfigurationError  # noqa: PLC0415  # likewise

    state = places.state_dir(getattr(parsed, "state_dir", None), os.environ, Path.home())
    command: Callable[[StateDir, argparse.Namespace], str] = {
        "status": _status,
        "handoff": _handoff,
        "pair": _pair,
        "tokens": _rotate,
    }[parsed.command]
    try:
        text = command(state, parsed)
    except (Unavailable, ConfigurationError, Declined) as why:
        print(f"larkd {parsed.command}: {why}", file=sys.stderr)  # noqa: T201  # the command's output
        return BAD_CONFIGURATION if isinstance(why, ConfigurationError) else FAILED
    print(text)  # noqa: T201  # likewise
    return DONE


def _status(state: StateDir, parsed: argparse.Namespace) -> str:
    from actors.cli import status  # noqa: PLC0415  # only for this command

    found = status.fetch(state)
    return status.as_json(found) if parsed.json else status.as_text(found)


def _handoff(state: StateDir, parsed: argparse.Namespace) -> str:
    from actors.cli import handoff  # noqa: PLC0415  # only for this command

    return handoff.hand_off(state, parsed)


def _pair(state: StateDir, parsed: argparse.Namespace) -> str:
    from actors.cli import pair  # noqa: PLC0415  # only for this command

    return pair.pair(state, parsed)


def _rotate(state: StateDir, parsed: argparse.Namespace) -> str:
    from actors.host import tokens  # noqa: PLC0415  # only for this command

    path = tokens.rotate(state, parsed.role, secrets.token_urlsafe)
    return (
        f"new {parsed.role} token in {path}; the old one proves nothing any more."
        " Open connections stay."
    )
