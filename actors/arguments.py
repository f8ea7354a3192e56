"""The daemon's command line, the same for ``python -m actors.daemon`` and ``larkd daemon``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

DESCRIPTION: Final = """\
Own the long connection of a Feishu/Lark bot, and give it to coding-agent sessions.

Prints "larkd ready on HOST:PORT" once sessions can connect. Ends on Ctrl-C or SIGTERM,
bringing every running card to its end first; a second signal hurries it.
"""
EPILOG: Final = """\
examples:
  larkd daemon --sandbox          try it: no Feishu app needed, prints a chat page's address
  larkd daemon --check            is my configuration right, does Feishu take my credentials?
  larkd daemon                    run with ~/.config/larkd/config.toml
  LARKD_APP_ID=cli_… LARKD_APP_SECRET=… larkd daemon

exit status: 0 left in order, 1 failed while running, 2 bad usage or configuration,
3 another larkd is serving the state directory, 4 Feishu refused the credentials
"""


class DaemonArguments(msgspec.Struct, frozen=True, kw_only=True):
    config: Path | None = None
    state_dir: Path | None = None
    sandbox: bool = False
    check: bool = False
    listen: str | None = None
    """``host:port`` as given; it is read together with the configuration."""


def parse_daemon_arguments(argv: Sequence[str]) -> DaemonArguments:
    """Read the arguments after the program's name. Exits with status 2 on bad usage."""
    parser = argparse.ArgumentParser(
        prog="larkd daemon",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_daemon_options(parser)
    return daemon_arguments(parser.parse_args(argv))


def add_daemon_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="configuration, TOML or JSON (default: $LARKD_CONFIG, else config.toml or"
        " config.json in ~/.config/larkd)",
    )
    add_state_dir(parser)
    parser.add_argument(
        "--sandbox",
        action="store_true",
        help="run with an embedded stand-in for Feishu and an echo session, and print the"
        " address of its chat page",
    )
    parser.add_argument(
        "--check", action="store_true", help="validate configuration and credentials, and exit"
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="where sessions connect (default: $LARKD_LISTEN, else the configuration, else"
        " 127.0.0.1:7345); port 0 picks a free one",
    )


def add_state_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        type=Path,
        help="journal, tokens and log of one daemon (default: $LARKD_STATE_DIR, else"
        " ~/.local/state/larkd)",
    )


def daemon_arguments(parsed: argparse.Namespace) -> DaemonArguments:
    return DaemonArguments(
        config=parsed.config,
        state_dir=parsed.state_dir,
        sandbox=parsed.sandbox,
        check=parsed.check,
        listen=parsed.listen,
    )
