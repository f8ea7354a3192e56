"""The ``larkd`` command. Each subcommand imports what it needs when it is chosen."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors.cli.arguments import parse_daemon_arguments
from actors.cli.parser import build_parser, command_list
from actors.host.exit_status import ExitStatus
from actors.host.terminal_text import print_what_can_be
from actors.proxies.acp_arguments import acp_settings
from protocol.errors import ConfigurationError

if TYPE_CHECKING:
    from protocol.config.places import StateDir

_COMPLETING: Final = "_ARGCOMPLETE"
"""What a shell sets when it asks for completions."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit status."""
    print_what_can_be()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return ExitStatus.FAILED
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.FAILED


def _run(arguments: list[str]) -> int:
    parser = build_parser()
    if _COMPLETING in os.environ:
        import argcomplete  # noqa: PLC0415  # only for a shell that completes

        argcomplete.autocomplete(parser)
    if not arguments:
        print(command_list(parser))  # noqa: T201  # the command's output
        return ExitStatus.ORDERLY
    # These two read their own arguments, also --help.
    if arguments[0] == "daemon":
        return _daemon(arguments[1:])
    if arguments[0] == "--sandbox":  # as `python -m actors.daemon` takes it
        return _daemon(arguments)
    if arguments[0] == "sandbox":
        return int(
            importlib.import_module("actors.sandbox.__main__").main(arguments[1:])
            or ExitStatus.ORDERLY
        )
    parsed = parser.parse_args(arguments)
    match parsed.command:
        case "mcp":
            return _mcp(parsed)
        case "acp":
            return _acp(parsed)
    from actors.cli.answering import answer  # noqa: PLC0415  # --help can do without

    return answer(parsed)


def _daemon(argv: list[str]) -> int:
    # Bad usage and --help are answered before the slow imports.
    arguments = parse_daemon_arguments(argv)
    if arguments.stop:
        from actors.cli.answering import stop_daemon  # noqa: PLC0415  # likewise

        return stop_daemon(arguments)
    return int(importlib.import_module("actors.cli.daemon").main(argv))


def _mcp(parsed: argparse.Namespace) -> int:
    from actors.proxies import mcp  # noqa: PLC0415  # trio, which --help can do without

    try:
        return mcp.main(_proxy_state(parsed), os.environ)
    except (ValueError, ConfigurationError) as wrong:
        print(f"larkd mcp: {wrong}", file=sys.stderr)  # noqa: T201  # the command's output
        return ExitStatus.USAGE


def _acp(parsed: argparse.Namespace) -> int:
    import trio  # noqa: PLC0415  # --help can do without

    from actors.proxies import acp  # noqa: PLC0415  # likewise

    try:
        _proxy_state(parsed)
        settings = acp_settings(parsed, os.environ)
    except (ValueError, ConfigurationError) as wrong:
        print(f"larkd acp: {wrong}", file=sys.stderr)  # noqa: T201  # the command's output
        return ExitStatus.USAGE
    return trio.run(acp.run, settings)


def _proxy_state(parsed: argparse.Namespace) -> StateDir:
    """Return the state directory of a proxy, which may look into it unless it has no need.

    Raises:
        ConfigurationError: it may not.
    """
    from actors.host.state_dir import check_readable  # noqa: PLC0415  # --help can do without
    from protocol.config import places  # noqa: PLC0415  # likewise

    state = places.state_dir(getattr(parsed, "state_dir", None), os.environ, Path.home())
    if not os.environ.get("LARKD_ADDRESS"):
        check_readable(state)
    return state
