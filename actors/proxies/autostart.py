"""Starting the daemon where none runs, once in a while, apart from this process.

It gets only what it needs of the environment: an agent's may hold tokens of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

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
_OF_THE_SESSION: Final = frozenset({"LARKD_ROLE", "LARKD_SESSION_ID", "LARKD_TEAMMATE_NAME"})


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

    def nobody_serves(self) -> None:
        """Start one, unless one was started a moment ago, or was stopped on purpose.

        A second daemon finds the first one's lock and goes, so two proxies may both try.
        """
        if self._started is not None:
            self._started.poll()  # reap it
        if (
            not self._wanted
            or self._state.stopped.exists()
            or trio.current_time() < self._not_before
        ):
            return
        self._not_before = trio.current_time() + AGAIN_AFTER_S
        self._started = subprocess.Popen(  # noqa: S603  # our own interpreter
            [sys.executable, "-m", "actors.daemon", "--state-dir", os.fspath(self._state.root)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=daemon_environment(self._environment),
            start_new_session=True,
        )


def daemon_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the environment the daemon may need."""
    wanted = _PASSED | frozenset(_secret_names(environment))
    return {
        key: value
        for key, value in environment.items()
        if (key in wanted or key.startswith(_PASSED_PREFIXES)) and key not in _OF_THE_SESSION
    }


def _secret_names(environment: Mapping[str, str]) -> Iterator[str]:
    """Return the variables that the configuration takes secrets from."""
    named = environment.get("LARKD_CONFIG")
    paths = (Path(named),) if named else places.config_paths(environment, Path.home())
    for path in paths:
        try:
            text = path.read_text()
            parsed = tomllib.loads(text) if path.suffix == ".toml" else msgspec.json.decode(text)
        except (OSError, ValueError):
            continue
        yield from _env_names(parsed)
        return


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
