"""How the daemon of a state directory was started last, so that it can be started so again.

A proxy that finds nobody serving starts it so; a message that names a way to start it names
this one; ``larkd doctor`` looks at the configuration that it had.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from actors.host.arguments import DaemonArguments
from actors.host.state_dir import write_private
from protocol.config.places import StateDir

_READ_BYTES_MAX: Final = 64 * 1024


class LastStart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ``started.json`` holds: the options that decide what a daemon is."""

    config: str | None = None
    """The configuration's absolute path; None where it had none."""
    sandbox: bool = False
    sandbox_port: int = 0
    listen: str | None = None
    """As given to ``--listen``."""

    def options(self) -> tuple[str, ...]:
        """Return ``--sandbox-port`` and ``--listen``, where they were given."""
        port = ("--sandbox-port", str(self.sandbox_port)) if self.sandbox_port else ()
        return port if self.listen is None else (*port, "--listen", self.listen)


def write(state: StateDir, arguments: DaemonArguments, config: Path | None) -> None:
    """Record how the daemon is being started. Call it with the lock held."""
    started = LastStart(
        config=None if config is None else str(config.absolute()),
        sandbox=arguments.sandbox,
        sandbox_port=arguments.sandbox_port,
        listen=arguments.listen,
    )
    write_private(state.started, msgspec.json.encode(started) + b"\n")


def read(state: StateDir) -> LastStart | None:
    """Return how it was started last; None where it never was."""
    try:
        with state.started.open("rb") as file:
            return msgspec.json.decode(file.read(_READ_BYTES_MAX), type=LastStart)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        config = _of_an_older_larkd(state)
        return None if config is None else LastStart(config=config)


def configuration_in_use(state: StateDir) -> Path | None:
    """Return the configuration the daemon was last started with; None: it had none."""
    last = read(state)
    return None if last is None or last.config is None else Path(last.config)


def _of_an_older_larkd(state: StateDir) -> str | None:
    """An older larkd left a file with the configuration's path alone."""
    with suppress(OSError, UnicodeDecodeError):
        return state.root.joinpath("config-in-use").read_text().strip() or None
    return None
