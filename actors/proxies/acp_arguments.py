"""What ``larkd acp`` takes on its command line. Nothing slow is imported for its help."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors.host.help_text import HelpText
from actors.host.path_argument import named_path

if TYPE_CHECKING:
    from actors.proxies.acp import AcpSettings
    from actors.proxies.agent import AgentSettings

DESCRIPTION: Final = """\
Attach an agent that speaks the Agent Client Protocol over stdio: its answers stream into
cards, with its tool calls and plan, and what it asks leave for is asked in the chat.
"""
EPILOG: Final = """\
examples:
  larkd acp -- codex-acp
  larkd acp --alias gem --cwd ~/work/site --fs write -- gemini --acp
  larkd acp --env ANTHROPIC_API_KEY -- claude-agent-acp

The agent gets HOME, LOGNAME, PATH, SHELL, TERM and USER of this environment, and what
--env names. It is started again after it ended, and it ends with this command.
"""
FS_CHOICES: Final = ("none", "read", "write")


def add_acp(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``larkd acp``."""
    acp = commands.add_parser(
        "acp",
        help="attach an agent that speaks the Agent Client Protocol",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=HelpText,
        allow_abbrev=False,
    )
    acp.add_argument(
        "--state-dir",
        metavar="DIR",
        type=named_path,
        default=argparse.SUPPRESS,
        help="of the daemon (default: $LARKD_STATE_DIR, else ~/.local/state/larkd)",
    )
    acp.add_argument(
        "--alias", metavar="NAME", help="what people call it in chat (default: the directory's)"
    )
    acp.add_argument(
        "--cwd", metavar="DIR", type=named_path, help="the agent's directory (default: this one)"
    )
    acp.add_argument(
        "--session-id",
        metavar="ID",
        help="by which the daemon knows this session again (default: a new one)",
    )
    acp.add_argument(
        "--role", choices=("session", "dispatcher"), help="default: $LARKD_ROLE, else session"
    )
    acp.add_argument(
        "--fs",
        choices=FS_CHOICES,
        default="none",
        help="files below the working directory the agent may ask this command to read, or to"
        " read and write (default: none; most agents use their own tools)",
    )
    acp.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a variable for the agent, from this environment or as given; may be repeated",
    )
    acp.add_argument(
        "--idle-timeout",
        type=float,
        default=900.0,
        metavar="SECONDS",
        help="end an agent that sends nothing for so long while it works (default: 900)",
    )
    acp.add_argument("--exit-with-parent", type=int, metavar="PID", help=argparse.SUPPRESS)
    acp.add_argument("--report-start", action="store_true", help=argparse.SUPPRESS)
    acp.add_argument(
        "agent", nargs=argparse.REMAINDER, metavar="-- COMMAND…", help="the agent, after --"
    )


def acp_settings(parsed: argparse.Namespace, environment: Mapping[str, str]) -> AcpSettings:
    """Read the settings off the command line.

    Raises:
        ValueError: what is wrong with it, and what to do.
    """
    from actors.proxies.acp import AcpSettings  # noqa: PLC0415  # trio
    from actors.proxies.settings import ProxySettings, of_environment  # noqa: PLC0415  # likewise
    from protocol.agents import mcp  # noqa: PLC0415  # likewise
    from protocol.config import places  # noqa: PLC0415  # likewise
    from protocol.wire import vocabulary  # noqa: PLC0415  # likewise

    command = parsed.agent[1:] if parsed.agent[:1] == ["--"] else parsed.agent
    if not command:
        raise ValueError("name the agent's command after --, for example: larkd acp -- codex-acp")
    if parsed.idle_timeout <= 0:
        raise ValueError("--idle-timeout must be above 0")
    cwd = (parsed.cwd or Path.cwd()).expanduser().resolve()
    if not cwd.is_dir():
        raise ValueError(f"--cwd {cwd} is no directory")
    role = parsed.role or mcp.role_of(environment)
    metadata = {"agent": Path(command[0]).name[:1024], "cwd": os.fspath(cwd)[:1024]}
    if parsed.alias:
        metadata["alias"] = parsed.alias[:1024]
    known_id = _known_id(parsed.session_id, environment)
    extra = dict(_variable(one, environment) for one in parsed.env)
    by_person = parsed.exit_with_parent is None and not parsed.report_start
    if by_person:
        _check_command(command[0], cwd, {**environment, **extra})
    state = places.state_dir(getattr(parsed, "state_dir", None), environment, Path.home())
    return AcpSettings(
        proxy=of_environment(
            ProxySettings(
                session_id=known_id or _new_id(metadata),
                state_dir=state.root,
                role=role,
                metadata=metadata,
                capabilities=(
                    vocabulary.CAPABILITY_TURNS,
                    vocabulary.CAPABILITY_CANCEL,
                    vocabulary.CAPABILITY_PERMISSION,
                    vocabulary.CAPABILITY_OPTIONS,
                    vocabulary.CAPABILITY_RESTORES,
                    vocabulary.CAPABILITY_CONVERSATIONS,
                ),
                waits_for_daemon=True,
            ),
            environment,
        ),
        agent=_agent(parsed, command, cwd, extra),
        parent=parsed.exit_with_parent,
        reports_start=parsed.report_start,
        starts_first=by_person,
        is_new=not known_id,
    )


def _agent(
    parsed: argparse.Namespace, command: list[str], cwd: Path, extra: dict[str, str]
) -> AgentSettings:
    from actors.proxies.agent import AgentSettings  # noqa: PLC0415  # trio

    return AgentSettings(
        command=tuple(command),
        cwd=os.fspath(cwd),
        extra_environment=extra,
        reads_files=parsed.fs in ("read", "write"),
        writes_files=parsed.fs == "write",
        idle_within_s=parsed.idle_timeout,
    )


def _known_id(given: str | None, environment: Mapping[str, str]) -> str:
    """Return the session id that is named; empty: none is.

    Raises:
        ValueError: it can't be one.
    """
    from protocol.wire import vocabulary  # noqa: PLC0415  # not for --help

    named = given or environment.get("LARKD_SESSION_ID") or ""
    if named and vocabulary.SESSION_ID_PATTERN.fullmatch(named) is None:
        source = "--session-id" if given else "LARKD_SESSION_ID"
        raise ValueError(f"{source} {named!r}: a session id is 1 to 128 of A-Z a-z 0-9 . _ : -")
    return named


def _check_command(name: str, cwd: Path, environment: Mapping[str, str]) -> None:
    """Look for the agent's command where it is going to be looked for.

    Raises:
        ValueError: it is not there, or nothing that can be run.
    """
    if "/" not in name:
        if shutil.which(name, path=environment.get("PATH", os.defpath)) is None:
            raise ValueError(
                f"there is no command {name} in PATH; install it, or name it by its whole path"
            )
    elif not (cwd / name).exists():
        raise ValueError(f"there is no {cwd / name}; install it, or name where it is")
    elif not os.access(cwd / name, os.X_OK) or (cwd / name).is_dir():
        raise ValueError(f"{cwd / name} can't be run; name an executable file")


def _new_id(metadata: Mapping[str, str]) -> str:
    return re.sub(r"[^A-Za-z0-9._:-]", "-", f"acp-{metadata['agent']}-{secrets.token_hex(6)}")[
        -128:
    ]


def _variable(given: str, environment: Mapping[str, str]) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not name:
        raise ValueError(f"--env {given!r} is not NAME or NAME=VALUE")
    if equals:
        return name, value
    if name not in environment:
        raise ValueError(
            f"--env {name}: there is no such variable here; set it, or give {name}=VALUE"
        )
    return name, environment[name]
