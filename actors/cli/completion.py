"""``larkd completion SHELL``: the script that makes a shell ask larkd for completions."""

from __future__ import annotations

import argparse

from argcomplete import shell_integration

from actors.cli.output import Output
from protocol.config.places import StateDir


def run(_state: StateDir, parsed: argparse.Namespace) -> Output:
    """Return the script of argcomplete for *parsed.shell*."""
    return Output(shell_integration.shellcode(["larkd"], shell=parsed.shell).rstrip())
