"""Command lines in messages, such that copying one does what the message promises."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from protocol.config import places
from protocol.config.places import StateDir


def command_for(state: StateDir, *words: str, env: Mapping[str, str] | None = None) -> str:
    """Return ``larkd WORDS``, with ``--state-dir`` where *state* is not the usual directory."""
    environment = os.environ if env is None else env
    line = shlex.join(["larkd", *words])
    if state == places.state_dir(None, environment, Path.home()):
        return line
    return f"{line} --state-dir {shlex.quote(str(state.root))}"


def is_of_the_sandbox(state: StateDir, env: Mapping[str, str] | None = None) -> bool:
    """Whether ``larkd daemon --sandbox`` serves *state* by itself."""
    environment = os.environ if env is None else env
    return state == places.sandbox_of(places.state_dir(None, environment, Path.home()))


def start_of(state: StateDir, env: Mapping[str, str] | None = None) -> str:
    """Return the command that serves *state* (again)."""
    if is_of_the_sandbox(state, env):
        return "larkd daemon --sandbox"
    return command_for(state, "daemon", env=env)
