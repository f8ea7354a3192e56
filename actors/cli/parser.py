"""The parser of ``larkd``: every command, with the module that carries it out.

Nothing slow is imported here: ``--help`` and completion are to answer at once.
"""

from __future__ import annotations

import argparse
from typing import Final

from actors.cli.arguments import (
    add_command,
    add_config_of_node,
    add_daemon_options,
    add_handoff,
    add_json,
    add_pair,
    add_tokens,
)
from actors.host.help_text import HelpText
from actors.host.path_argument import named_path
from actors.proxies.acp_arguments import add_acp

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
  larkd init                make an app by a scan, and configure larkd with it
  larkd daemon              run with ~/.config/larkd/config.toml
  larkd status              who gets the messages, what waits, what runs
  larkd handoff acquire api give the channel to the session api
  larkd doctor              what is wrong, and what to do about it
  larkd acp --alias codex -- codex-acp
                            let an agent answer in Feishu
  larkd pair approve K7M2QX let in who was shown this code

`larkd COMMAND --help` shows more. Exit status: 0 done, 1 failed, 2 bad usage or
configuration, 3 another larkd is running, 4 Feishu refused the credentials
"""
INIT_DESCRIPTION: Final = """\
Show a QR code (and its link); whoever scans it makes an app, and becomes its admin. Then
write the configuration, read back what the app can really do, and connect once. With
--app-id and --app-secret-stdin an app that exists is taken instead.
"""
BACKUP_DESCRIPTION: Final = """\
Write the journal and the tokens into one archive, consistent also while the daemon runs.
The file holds the role tokens: whoever has it can act as any session.
"""
RESTORE_DESCRIPTION: Final = """\
Bring journal and tokens of a backup into a state directory that has no journal yet.
Stop the daemon first.
"""
CHANNEL_DESCRIPTION: Final = """\
Add an app that exists, beside those there are; comments of the configuration stay.
"""
JOURNAL_DESCRIPTION: Final = """\
Copy the SQLite journal of this machine, and its tokens, into the empty cluster that the
configuration names, and put the file aside. Stop the daemon first.
"""
COMPLETION_DESCRIPTION: Final = """\
Print a script for the shell to read, each time it starts:

  echo 'source <(larkd completion bash)' >> ~/.bashrc
  larkd completion zsh > ~/.zfunc/_larkd
  larkd completion fish > ~/.config/fish/completions/larkd.fish

The directory has to be there; zsh reads it with fpath=(~/.zfunc $fpath) before compinit
in ~/.zshrc.
"""

Subparsers = argparse._SubParsersAction  # noqa: SLF001  # argparse has no public name for it


def build_parser() -> argparse.ArgumentParser:
    from protocol import __version__  # noqa: PLC0415  # only here

    parser = argparse.ArgumentParser(
        prog="larkd",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=HelpText,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"larkd {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_daemon(commands)
    _add_setting_up(commands)
    _add_looking(commands)
    add_handoff(commands)
    add_pair(commands)
    add_tokens(commands)
    what = "attach an MCP client, such as Claude Code, over stdio"
    add_command(commands, "mcp", what, MCP_DESCRIPTION)
    add_acp(commands)
    _add_keeping(commands)
    _add_clusters(commands)
    commands.add_parser(
        "sandbox", help="run the stand-in platform and its chat page alone", add_help=False
    )
    return parser


def command_list(parser: argparse.ArgumentParser) -> str:
    """Return every command with its line of help: what bare ``larkd`` prints."""
    # argparse lists its subcommands nowhere else.
    actions = parser._actions  # noqa: SLF001  # see above
    (commands,) = [action for action in actions if isinstance(action, Subparsers)]
    choices = commands._choices_actions  # noqa: SLF001  # see above
    lines = [f"  {choice.dest:<12}{choice.help}" for choice in choices]
    return "\n".join(
        [
            DESCRIPTION,
            "commands:",
            *lines,
            "",
            "Try it without a Feishu app: larkd daemon --sandbox",
            "Set it up: larkd init. More of a command: larkd COMMAND --help",
        ]
    )


def _add_daemon(commands: Subparsers[argparse.ArgumentParser]) -> None:
    # Its arguments are read again by the daemon's own entry, which `python -m` shares.
    daemon = commands.add_parser("daemon", help="run the daemon, or stop it", add_help=False)
    add_daemon_options(daemon)


def _add_looking(commands: Subparsers[argparse.ArgumentParser]) -> None:
    status = add_command(commands, "status", "show the state of the running daemon")
    add_json(status, "print the whole status as JSON")
    top = add_command(commands, "top", "show sessions, queue, cards and budget, live")
    top.add_argument(
        "--once", action="store_true", help="print it once, also to something that is no terminal"
    )
    add_json(top, "print it once, as `larkd status --json` does")
    doctor = add_command(
        commands,
        "doctor",
        "look for what is wrong, each finding with its remedy",
        "Check credentials, scopes, connection, queue, disk, tokens, versions and clock.\n"
        "Works without a running daemon, and never prints a secret.",
    )
    doctor.add_argument("--config", metavar="FILE", type=named_path, help="as for the daemon")
    add_json(doctor, "print the findings as JSON")
    doctor.add_argument("--verbose", action="store_true", help="show also what is in order")
    log = add_command(
        commands,
        "log",
        "show what became of a message, with its log lines",
        "Show what became of a message, with its log lines; without MESSAGE, which came last.",
    )
    log.add_argument(
        "message", metavar="MESSAGE", nargs="?", help="a message_id (om_…) or an event_id"
    )
    add_config_of_node(log)
    add_json(log)
    console = add_command(commands, "console", "print the address of the console in the browser")
    console.add_argument(
        "--read-only", action="store_true", help="an address to look only, not to act"
    )
    add_json(console)


def _add_clusters(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """What there is to do with a cluster on several machines."""
    clusters = add_command(commands, "clusters", "show who holds each cluster, and who stands by")
    move = add_command(commands, "move", "let another node take this cluster, in order")
    move.add_argument("--to", metavar="NODE", help="which one (default: the standby seen last)")
    for parser in (clusters, move):
        add_json(parser)
        parser.add_argument("--config", metavar="FILE", type=named_path, help="as for the daemon")
    node = add_command(
        commands,
        "node",
        "run a daemon for each configuration in a directory",
        "Run a child for each NAME.toml or NAME.json in DIR, with the state directory NAME"
        " inside of larkd's own; one that ends is started again, with back-off.",
    )
    node.add_argument("directory", metavar="DIR", type=named_path, help="holds the configurations")
    journal = commands.add_parser(
        "journal",
        help="bring the journal of one machine into a cluster, or back",
        description="Bring the journal of one machine into a cluster, or back.",
        allow_abbrev=False,
    )
    actions = journal.add_subparsers(dest="action", required=True)
    what = "copy the SQLite journal of this machine into an empty cluster, or back"
    moving = add_command(actions, "move", what, JOURNAL_DESCRIPTION)
    moving.add_argument(
        "--back", action="store_true", help="from the cluster into an empty state directory"
    )
    add_json(moving)
    moving.add_argument("--config", metavar="FILE", type=named_path, help="as for the daemon")
    moving.set_defaults(command="journal move", module="journal_move")


def _add_init(commands: Subparsers[argparse.ArgumentParser]) -> None:
    init = add_command(
        commands, "init", "make an app by a scan, and configure larkd with it", INIT_DESCRIPTION
    )
    add_app_options(init, required=False)
    init.add_argument("--force", action="store_true", help="replace the configuration there is")
    init.add_argument("--name", metavar="NAME", help="what the new app is called")
    add_json(init, "print one JSON map, and no QR code")
    init.add_argument(
        "--no-wait", action="store_true", help="print device code and link, and exit at once"
    )
    init.add_argument(
        "--device-code", metavar="CODE", help="go on with the device code of --no-wait"
    )


def _add_service(commands: Subparsers[argparse.ArgumentParser]) -> None:
    service = add_command(commands, "service", "keep larkd running by systemd or launchd")
    actions = service.add_subparsers(dest="action", required=True)
    for name, what in (
        ("install", "install and start it"),
        ("status", "show whether it is installed and runs"),
        ("uninstall", "stop and remove it; journal and configuration stay"),
    ):
        action = add_command(actions, name, what)
        action.add_argument("--config", metavar="FILE", type=named_path, help="as for the daemon")
        add_json(action)
        if name != "status":
            action.add_argument("--dry-run", action="store_true", help="print, and change nothing")


def _add_setting_up(commands: Subparsers[argparse.ArgumentParser]) -> None:
    _add_init(commands)
    _add_service(commands)
    channel = add_command(commands, "channel", "add a Feishu or Lark app to the configuration")
    actions = channel.add_subparsers(dest="action", required=True)
    add = add_command(actions, "add", "add an app", CHANNEL_DESCRIPTION)
    add_json(add)
    add.add_argument("type", choices=("feishu",), help="the kind of channel")
    add_app_options(add)


def _add_keeping(commands: Subparsers[argparse.ArgumentParser]) -> None:
    backup = add_command(
        commands, "backup", "copy the journal and the tokens into one file", BACKUP_DESCRIPTION
    )
    backup.add_argument(
        "file", metavar="FILE", type=named_path, help="a new one, or a backup that it replaces"
    )
    add_json(backup)
    restore = add_command(
        commands, "restore", "bring back a backup into an empty directory", RESTORE_DESCRIPTION
    )
    restore.add_argument("file", metavar="FILE", type=named_path, help="what a backup wrote")
    add_json(restore)
    completion = commands.add_parser(
        "completion",
        help="print what makes a shell complete larkd's commands",
        description=COMPLETION_DESCRIPTION,
        formatter_class=HelpText,
        allow_abbrev=False,
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))


def add_app_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add what names an app and where its configuration is written."""
    parser.add_argument("--app-id", metavar="ID", required=required, help="cli_ and 16 hex digits")
    parser.add_argument(
        "--app-secret-stdin",
        action="store_true",
        required=required,
        help="read the app secret from standard input, so that it stands in no history",
    )
    parser.add_argument(
        "--domain", metavar="D", help="feishu (default), lark, or a base URL such as https://…"
    )
    parser.add_argument(
        "--account", metavar="NAME", help="the name of the app among several (default: its id)"
    )
    parser.add_argument("--config", metavar="FILE", type=named_path, help="as for the daemon")
