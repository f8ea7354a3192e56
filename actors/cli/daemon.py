"""``larkd daemon``: from the arguments to a running daemon, and its exit status."""

from __future__ import annotations

import faulthandler
import gc
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from actors.app.listening import CannotListen
from actors.app.running import run_daemon
from actors.cli.arguments import parse_daemon_arguments
from actors.host import config_file, runtime, started, state_dir
from actors.host.arguments import DaemonArguments
from actors.host.exit_status import ExitStatus
from actors.host.terminal_text import print_what_can_be
from actors.host.tokens import TokenFiles, open_tokens
from actors.journal import JournalError
from actors.kit.plain import LINES, plain
from protocol.config import places
from protocol.config.places import StateDir
from protocol.config.settings import Settings
from protocol.errors import ConfigurationError

COLLECT_EVERY: Final = (2_500, 4, 400)
"""Objects more than before, and collections of the next younger ones. Connections that come and
go leave cycles: freeing 10,000 objects at once takes some 10 ms of the loop, 140,000 took 200."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon; return its exit status."""
    print_what_can_be()
    arguments = parse_daemon_arguments(list(sys.argv[1:] if argv is None else argv))
    if arguments.stop:
        from actors.cli.answering import stop_daemon  # noqa: PLC0415  # not for a running daemon

        return stop_daemon(arguments)
    try:
        return _main(arguments, os.environ)
    except ConfigurationError as wrong:
        _print_errors(*wrong.problems)
        return ExitStatus.USAGE
    except state_dir.AlreadyRunning as running:
        _print_errors(str(running))
        return ExitStatus.RUNNING
    except JournalError as refused:
        _print_errors(str(refused))
        return ExitStatus.FAILED
    except BaseExceptionGroup as group:
        return _unopened(group)


def _unopened(group: BaseExceptionGroup[BaseException]) -> int:
    """Name what kept the daemon from opening; anything else is a bug and keeps its trace."""
    expected, bugs = group.split((JournalError, CannotListen, ConfigurationError, OSError))
    if bugs is not None or expected is None:
        raise group
    failures = _leaves(expected)
    _print_errors(*(line for one in failures for line in str(one).splitlines()))
    usage = any(isinstance(one, ConfigurationError) for one in failures)
    return ExitStatus.USAGE if usage else ExitStatus.FAILED


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for one in group.exceptions
        for leaf in (_leaves(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]


def _print_errors(*lines: str) -> None:
    for line in lines:
        sys.stderr.write(f"larkd: {plain(line, LINES)}\n")


def _main(arguments: DaemonArguments, environ: Mapping[str, str]) -> int:
    env = dict(environ)
    home = Path.home()
    path = config_file.find(arguments.config, env, home)
    raw = config_file.load(path) if path is not None else {}
    if arguments.sandbox:
        from actors.app import sandbox_mode  # noqa: PLC0415  # heavy; a demo's need

        if arguments.check:
            check = partial(_check, as_json=arguments.json)
            return trio.run(sandbox_mode.check_in_sandbox, arguments, raw, env, check)
        state = places.served_dir(arguments.state_dir, env, home, sandbox=True)
        with opened(state, arguments, path) as tokens:
            return trio.run(sandbox_mode.run_in_sandbox, arguments, raw, env, state, tokens)
    settings = config_file.settings(raw, env, path, listen=arguments.listen)
    _print_errors(*settings.notices)
    if arguments.check:
        return trio.run(partial(_check, as_json=arguments.json), settings)
    state = places.served_dir(arguments.state_dir, env, home, sandbox=False)
    with opened(state, arguments, path) as tokens:
        faulthandler.enable()  # where a loop stood that systemd ends for standing still
        collect_less_often()
        runtime.switch_often()
        runtime.give_back_what_is_large()
        return trio.run(run_daemon, settings, state, tokens)


async def _check(settings: Settings, *, as_json: bool) -> int:
    from actors.cli.check import check  # noqa: PLC0415  # not for a running daemon

    return await check(settings, as_json=as_json)


def collect_less_often() -> None:
    """Let the garbage collector leave alone what stays, and look for cycles less often.

    Tasks and messages make many objects that live for milliseconds, and few that make cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_EVERY)


@contextmanager
def opened(
    state: StateDir, arguments: DaemonArguments, config: Path | None
) -> Iterator[TokenFiles]:
    """Make and lock the state directory while the block runs; give its tokens.

    Raises:
        ConfigurationError: it can't be used, or its tokens are not as they should be.
        AlreadyRunning: another daemon serves it.
    """
    state_dir.create(state)
    with state_dir.locked(state):
        with state_dir.usable(state):
            state.stopped.unlink(missing_ok=True)
            tokens = open_tokens(state, secrets.token_urlsafe)
            started.write(state, arguments, config)
        yield tokens
