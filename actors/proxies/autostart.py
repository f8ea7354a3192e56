"""Starting the daemon where none runs, once in a while, apart from this process.

It gets only what it needs of the environment: an agent's may hold tokens of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from actors.host import started
from actors.host.advice import is_of_the_sandbox, start_of
from protocol import foreign
from protocol.config import places
from protocol.config.places import StateDir

AGAIN_AFTER_S: Final = 30.0
_PASSED: Final = frozenset(
    {
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LANG",
        "LOGNAME",
        "NO_PROXY",
        "PATH",
        "SHELL",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TERM",
        "TMPDIR",
        "TZ",
        "USER",
        "https_proxy",
        "http_proxy",
        "no_proxy",
    }
)
_PASSED_PREFIXES: Final = ("LARKD_", "LC_", "XDG_")
_OF_THE_SESSION: Final = frozenset(
    {"LARKD_ROLE", "LARKD_SESSION_ID", "LARKD_TEAMMATE_NAME", "LARKD_INSIDE"}
)


class Autostart:
    """Starts the daemon of one state directory when it is notified that nobody serves it."""

    def __init__(self, state: StateDir, environment: Mapping[str, str]) -> None:
        self._state = state
        self._environment = environment
        # The nodes of a cluster are started by whoever runs them.
        self._wanted = (
            environment.get("LARKD_AUTOSTART", "1") not in ("0", "false", "no")
            and "LARKD_ADDRESS" not in environment
        )
        self._not_before = 0.0
        self._started: subprocess.Popen[bytes] | None = None
        self._reported: set[str] = set()

    def nobody_serves(self) -> None:
        """Start one, unless one was started a moment ago, or was stopped on purpose.

        A second daemon finds the first one's lock and goes, so two proxies may both try. What
        the configuration names and the environment has not is printed on standard error, and so
        is that the daemon ended over it.
        """
        if self._started is not None and (status := self._started.poll()):
            self._report(
                f"the larkd that was started here ended with status {status};"
                f" what is wrong is shown by: {self._start('--check')}"
            )
        if (
            not self._wanted
            or self._state.stopped.exists()
            or trio.current_time() < self._not_before
        ):
            return
        if is_of_the_sandbox(self._state, self._environment):
            # A real daemon has no business with its journal, and the sandbox's users are there.
            self._report(
                f"the sandbox of {self._state.root} does not run; start it: {self._start()}"
            )
            return
        self._not_before = trio.current_time() + AGAIN_AFTER_S
        config = configuration(self._state, self._environment)
        names = named_variables(config)
        missing = sorted(name for name in names if name not in self._environment)
        if missing:
            self._report(
                f"starting larkd without {', '.join(missing)}, which its configuration names;"
                " set them where this was started from, or start larkd yourself:"
                f" {self._start()}"
            )
        last = started.read(self._state)
        self._started = subprocess.Popen(  # noqa: S603  # our own interpreter
            [
                *(sys.executable, "-m", "actors.daemon"),
                *("--state-dir", os.fspath(self._state.root)),
                *(("--config", os.fspath(config)) if config is not None else ()),
                *(last.options() if last is not None else ()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=daemon_environment(self._environment, names),
            start_new_session=True,
        )

    def _start(self, *options: str) -> str:
        """Return the command line that starts it as this does."""
        config = configuration(self._state, self._environment)
        return start_of(self._state, *options, config=config, env=self._environment)

    def _report(self, text: str) -> None:
        """Print it once: a client shows each line of its server's standard error."""
        if text not in self._reported:
            self._reported.add(text)
            sys.stderr.write(f"larkd: {text}\n")


def configuration(state: StateDir, environment: Mapping[str, str]) -> Path | None:
    """Return the configuration to start with: the one named here, else the last one in use."""
    if named := environment.get("LARKD_CONFIG"):
        return Path(named)
    in_use = started.configuration_in_use(state)
    if in_use is not None and in_use.is_file():
        return in_use
    usual = places.config_paths(environment, Path.home())
    return next((one for one in usual if one.is_file()), None)


def daemon_environment(environment: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Return the part of the environment the daemon may need: *names*, and what all need."""
    wanted = _PASSED.union(names)
    return {
        key: value
        for key, value in environment.items()
        if (key in wanted or key.startswith(_PASSED_PREFIXES)) and key not in _OF_THE_SESSION
    }


def named_variables(config: Path | None) -> frozenset[str]:
    """Return the variables that the configuration takes secrets from, or gives to agents."""
    if config is None:
        return frozenset()
    try:
        text = config.read_text()
        parsed = tomllib.loads(text) if config.suffix == ".toml" else msgspec.json.decode(text)
    except (OSError, ValueError):
        return frozenset()
    return frozenset((*_env_names(parsed), *_agents_names(parsed)))


def _agents_names(parsed: Any) -> Iterator[str]:
    for agent in foreign.mapping(foreign.mapping(parsed).get("agents")).values():
        yield from foreign.texts(foreign.mapping(agent).get("env"))


def _env_names(value: Any) -> Iterator[str]:
    match value:
        case {"env": str(name)} if len(value) == 1:
            yield name
        case dict():
            for inner in value.values():
                yield from _env_names(inner)
        case list():
            for inner in value:
                yield from _env_names(inner)
