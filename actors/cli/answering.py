"""A subcommand that has a module of its own: run, its outcome printed."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from actors.cli.output import CommandFailed
from actors.host.advice import command_for
from actors.host.arguments import DaemonArguments
from actors.host.exit_status import ExitStatus
from actors.host.state_dir import AlreadyRunning, check_readable
from actors.kit.plain import LINES, plain
from protocol.config import places
from protocol.errors import ConfigurationError


def answer(parsed: argparse.Namespace) -> int:
    """Run the command's module, ``actors.cli.NAME``; return the exit status."""
    state = places.state_dir(getattr(parsed, "state_dir", None), os.environ, Path.home())
    name = getattr(parsed, "module", parsed.command.split()[-1])
    try:
        check_readable(state)
        output = importlib.import_module(f"actors.cli.{name}").run(state, parsed)
    except ConfigurationError as wrong:
        return _refused(parsed, ExitStatus.USAGE, *wrong.problems)
    except CommandFailed as failed:
        return _refused(parsed, failed.status, str(failed))
    except AlreadyRunning as running:
        stop = command_for(state, "daemon", "stop")
        return _refused(parsed, ExitStatus.RUNNING, f"{running}; stop it first: {stop}")
    except BrokenPipeError:
        raise
    except OSError as failed:
        where = f"{failed.filename}: " if failed.filename else ""
        return _refused(parsed, ExitStatus.FAILED, f"{where}{failed.strerror or failed}")
    if output.text:
        print(plain(output.text, LINES))  # noqa: T201  # the command's output
    return int(output.status)


def stop_daemon(arguments: DaemonArguments) -> int:
    """Carry out ``daemon stop``."""
    parsed = argparse.Namespace(
        command="daemon stop", state_dir=arguments.state_dir, json=arguments.json
    )
    return answer(parsed)


def _refused(parsed: argparse.Namespace, status: int, *problems: str) -> int:
    for problem in problems:
        text = plain(problem, LINES)
        print(f"larkd {parsed.command}: {text}", file=sys.stderr)  # noqa: T201  # likewise
    return int(status)
