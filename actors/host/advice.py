"""Command lines in messages, such that copying one does what the message promises.

The one place that writes them: a command about one daemon names its state directory and its
configuration, unless every shell of this user takes the same without options.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from actors.host import started
from protocol.config import places
from protocol.config.places import StateDir

TRY_IT: Final = "larkd daemon --sandbox"
"""What shows larkd to who has no app yet: a daemon of its own, beside any other."""
WITH_POSTGRES: Final = (
    "install larkd again as '.[postgres]' in place of '.': pipx install --force '.[postgres]'"
)
"""What adds the client of PostgreSQL; pip and uv take the same name."""


def command_for(
    state: StateDir,
    *words: str,
    config: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Return ``larkd WORDS`` for the daemon of *state*; *config* where the command reads one.

    Its options stand before a ``--``, after which the words of another program begin.
    """
    environment = os.environ if env is None else env
    options = [*_config(config, environment), *_state_dir(state, environment)]
    end = words.index("--") if "--" in words else len(words)
    return shlex.join(["larkd", *words[:end], *options, *words[end:]])


def start_of(
    state: StateDir,
    *options: str,
    config: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Return the command that serves *state* as it was served last, or with *config*."""
    environment = os.environ if env is None else env
    last = started.read(state) or started.LastStart()
    if config is None and last.config is not None:
        config = Path(last.config)
    sandbox = is_of_the_sandbox(state, env)
    words = ["--sandbox"] if sandbox else []
    words += [*last.options(), *options, *_config(config, environment)]
    words += _state_dir(state, environment, sandbox=sandbox)
    return shlex.join(["larkd", "daemon", *words])


def set_up(config: Path | None, env: Mapping[str, str]) -> str:
    """Return the command that writes an app into *config*, or where a configuration is usual."""
    return shlex.join(["larkd", "init", *_config(config, env)])


def is_of_the_sandbox(state: StateDir, env: Mapping[str, str] | None = None) -> bool:
    """Whether *state* is served by ``larkd daemon --sandbox``: it was, or is where that goes."""
    if last := started.read(state):
        return last.sandbox
    environment = os.environ if env is None else env
    return state == places.sandbox_of(places.state_dir(None, _unnamed(environment), Path.home()))


def _state_dir(state: StateDir, env: Mapping[str, str], *, sandbox: bool = False) -> Iterator[str]:
    home = Path.home()
    taken = {
        places.served_dir(None, one, home, sandbox=sandbox).root.absolute()
        for one in (env, _unnamed(env))
    }
    if taken != {state.root.absolute()}:
        yield from ("--state-dir", str(state.root.absolute()))


def _config(config: Path | None, env: Mapping[str, str]) -> Iterator[str]:
    if config is None:
        return
    home = Path.home()
    usual = places.config_paths(env, home)
    for one in (env, _unnamed(env)):
        named = one.get("LARKD_CONFIG")
        taken = {Path(named).absolute()} if named else {path.absolute() for path in usual}
        if config.absolute() not in taken:
            yield from ("--config", str(config.absolute()))
            return


def _unnamed(env: Mapping[str, str]) -> dict[str, str]:
    """A shell of this user in which nobody has exported a place."""
    return {
        key: value for key, value in env.items() if key not in ("LARKD_STATE_DIR", "LARKD_CONFIG")
    }


def at_home(text: object) -> str:
    """Return a path, or a text with paths, with ``~`` for the home directory."""
    return str(text).replace(f"{Path.home()}/", "~/")
