"""The command lines in what larkd prints, each as its own parser reads it."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from actors.cli.arguments import parse_daemon_arguments
from actors.cli.parser import Subparsers, build_parser
from actors.host.arguments import DaemonArguments


def command_names() -> tuple[str, ...]:
    """Every command of ``larkd``."""
    for action in build_parser()._actions:
        if isinstance(action, Subparsers):
            return tuple(action.choices)
    raise AssertionError("there are no commands")


COMMAND = re.compile(rf"\blarkd (?:{'|'.join(command_names())})\b")
_LINE = re.compile(rf"(?<!`){COMMAND.pattern}[^;,()\n]*")


def lines_in(text: str) -> Iterator[str]:
    """Every command line that a text asks people to run."""
    for found in _LINE.findall(text):
        line = re.split(r" or | < | {2,}", found)[0].strip()
        # "larkd daemon stop: …" and "larkd pair: …" begin an error of that command.
        if not line.endswith(":") and ": " not in line:
            yield line.rstrip(".")


def parsed(line: str) -> argparse.Namespace | DaemonArguments:
    """Read *line* as ``larkd`` would; exits where it is none of its command lines."""
    words = shlex.split(line)[1:]
    if words[0] == "daemon":
        return parse_daemon_arguments(words[1:])
    return build_parser().parse_args(words)


def place_of(line: str) -> tuple[Path | None, Path | None]:
    """Return the state directory and the configuration that *line* names."""
    given = parsed(line)
    return getattr(given, "state_dir", None), getattr(given, "config", None)
