"""What the command line takes.

The daemon's part is the same for ``python -m actors.daemon`` and ``larkd daemon``. Nothing
slow is imported here: ``--help`` is to answer at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from actors.host.arguments import DaemonArguments
from actors.host.help_text import HelpText
from actors.host.path_argument import named_path
from protocol.wire.vocabulary import ROLES

DESCRIPTION: Final = """\
Own the long connection of a Feishu/Lark bot, and give it to coding-agent sessions.

Prints "larkd ready on HOST:PORT" once sessions can connect. Ends on Ctrl-C or SIGTERM,
bringing every running card to its end first; a second signal shortens the deadline.
"""
EPILOG: Final = """\
examples:
  larkd daemon --sandbox   try it: no Feishu app needed; prints a page's address
  larkd daemon --check     is the configuration right, are credentials taken?
  larkd daemon             run with ~/.config/larkd/config.toml
  LARKD_APP_ID=cli_… LARKD_APP_SECRET=… larkd daemon

exit status: 0 left in order, 1 failed while running, 2 bad usage or configuration,
3 another larkd is serving the state directory, 4 Feishu refused the credentials
"""

HANDOFF_DESCRIPTION: Final = """\
Choose which session receives the user's messages, with the dispatcher's rights. The
command is no session itself: what it does not name stays as it is.
"""
HANDOFF_EPILOG: Final = """\
examples:
  larkd handoff acquire api           the channel to api (an alias or an id)
  larkd handoff acquire --match cwd=/src/api
                                      to the one session whose metadata matches
  larkd handoff grant api             api may take the channel itself, once
  larkd handoff reclaim               to the dispatcher, also from a dead one
  larkd handoff reclaim --chats       and every chat follows the channel again

`larkd status` lists the sessions.
"""


PAIR_DESCRIPTION: Final = """\
A stranger who writes to the bot is shown a code, and so is a group that mentions it.
Approve the code to let them in. The first person approved here becomes admin, who can
approve others in the chat: /pair CODE.
"""
TOKENS_DESCRIPTION: Final = """\
Each role has a token in the state directory, by which a proxy or a command proves it. Make
a new one where others may have seen it, or to end the console's addresses.
"""

PORT_MAX: Final = 65_535


def parse_daemon_arguments(argv: Sequence[str]) -> DaemonArguments:
    """Read the arguments after the program's name. Exits with status 2 on bad usage."""
    parser = argparse.ArgumentParser(
        prog="larkd daemon",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=HelpText,
        allow_abbrev=False,
    )
    add_daemon_options(parser)
    parsed = parser.parse_args(argv)
    _check_json(parser, parsed)
    return daemon_arguments(parsed)


def add_daemon_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        choices=("stop",),
        help="stop: end the daemon that runs, and keep proxies from starting it again",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=named_path,
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
        "--sandbox-port",
        metavar="PORT",
        type=_port,
        default=0,
        help="with --sandbox: serve the chat page on this port, under an address that stays the"
        " same over restarts (default: any free port, and a new address each time)",
    )
    parser.add_argument(
        "--check", action="store_true", help="validate configuration and credentials, and exit"
    )
    add_json(parser, "with --check or stop: print the result as JSON")
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="where sessions connect (default: $LARKD_LISTEN, else the configuration, else"
        " 127.0.0.1:7345); port 0 picks a free one",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= PORT_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to {PORT_MAX}")
    return int(text)


def add_state_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        type=named_path,
        default=argparse.SUPPRESS,  # so that it may stand before or after an action
        help="journal, tokens and log of one daemon (default: $LARKD_STATE_DIR, else"
        " ~/.local/state/larkd)",
    )


def add_config_of_node(parser: argparse.ArgumentParser) -> None:
    """Add ``--config`` to what looks into the journal or the tokens, wherever they are."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=named_path,
        default=argparse.SUPPRESS,  # as of the state directory
        help="whose cluster holds them (default: what the daemon of the state directory was"
        " started with)",
    )


def _check_json(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    if parsed.json and not (parsed.check or parsed.action):
        parser.error("--json: a daemon that runs prints no result; it goes with --check and stop")


def daemon_arguments(parsed: argparse.Namespace) -> DaemonArguments:
    return DaemonArguments(
        config=parsed.config,
        state_dir=getattr(parsed, "state_dir", None),
        sandbox=parsed.sandbox,
        sandbox_port=parsed.sandbox_port,
        check=parsed.check,
        stop=parsed.action == "stop",
        json=parsed.json,
        listen=parsed.listen,
    )


def add_handoff(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``larkd handoff`` with its four actions and their selectors."""
    what = "choose which session receives the messages"
    handoff = add_command(commands, "handoff", what, HANDOFF_DESCRIPTION, HANDOFF_EPILOG)
    handoff.set_defaults(json=False)
    _add_json_anywhere(handoff)
    actions = handoff.add_subparsers(dest="action", required=True)
    for action, what in (
        ("grant", "let a session take the channel itself, once"),
        ("acquire", "give the channel to a session"),
    ):
        one = add_command(actions, action, what)
        _add_json_anywhere(one)
        target = one.add_mutually_exclusive_group(required=True)
        target.add_argument(
            "session", nargs="?", metavar="SESSION", help="a live session's id or alias"
        )
        target.add_argument("--session-id", metavar="ID", help="a live session's id, and only that")
        target.add_argument(
            "--match",
            metavar="KEY=VALUE",
            action="append",
            type=_pair,
            help="what the session registered as metadata; may be given several times",
        )
    back = add_command(actions, "return", "give the channel back to the dispatcher")
    reclaim = add_command(actions, "reclaim", "take the channel back for the dispatcher")
    for one in (back, reclaim):
        _add_json_anywhere(one)
    reclaim.add_argument(
        "--chats", action="store_true", help="also end every binding of a chat to a session"
    )


def add_json(parser: argparse.ArgumentParser, what: str = "print it as JSON") -> None:
    """Add ``--json``: one map in snake_case, with a version."""
    parser.add_argument("--json", action="store_true", help=what)


def _add_json_anywhere(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,  # so that it may stand before or after an action
        help="print the answer as JSON",
    )


def add_tokens(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``larkd tokens``."""
    what = "replace what proves a proxy's role"
    tokens = add_command(commands, "tokens", what, TOKENS_DESCRIPTION)
    add_config_of_node(tokens)
    actions = tokens.add_subparsers(dest="action", required=True)
    rotate = add_command(
        actions,
        "rotate",
        "make a new token for a role; a running daemon takes it from the next connection on",
    )
    add_config_of_node(rotate)
    rotate.add_argument("role", choices=ROLES, help="whose token")
    add_json(rotate)


def add_pair(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``larkd pair`` with its three actions."""
    what = "let people and groups in, by the code they were shown"
    pair = add_command(commands, "pair", what, PAIR_DESCRIPTION)
    actions = pair.add_subparsers(dest="action", required=True)
    listed = add_command(actions, "list", "show the codes that wait, and who was let in")
    approve = add_command(actions, "approve", "let in whom a code was shown to")
    approve.add_argument("code", metavar="CODE", help="the six characters they were shown")
    revoke = add_command(actions, "revoke", "take an approval back")
    revoke.add_argument("subject", metavar="ID", help="an open_id, a chat_id, or a waiting code")
    for action in (listed, approve, revoke):
        add_json(action)


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    what: str,
    description: str = "",
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    """Add a command, or an action of one, that is about a state directory.

    Without a *description* it is *what* as a sentence; its names keep their capitals.
    """
    parser = commands.add_parser(
        name,
        help=what,
        description=description or f"{what[0].upper()}{what[1:]}.",
        epilog=epilog,
        formatter_class=HelpText,
        allow_abbrev=False,
    )
    add_state_dir(parser)
    return parser


def _pair(given: str) -> tuple[str, str]:
    key, equals, value = given.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{given!r} is not KEY=VALUE")
    return key, value
