"""A PostgreSQL server of the distribution, unprivileged, in a directory of its own."""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import pytest

from tests.kit.ports import free_port

USER: Final = "larkd"
PASSWORD: Final = "only for tests"
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "logging_collector": "off",
    "log_min_messages": "fatal",
}
READY_WITHIN_S: Final = 60.0


def programs() -> Path | None:
    """Return where the server's programs are: the newest of the distribution's, or PATH's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: p.parts)
    on_path = shutil.which("postgres")
    if found:
        return found[-1].parent
    return None if on_path is None else Path(on_path).parent


def require() -> Path:
    """Return where the server's programs are, or skip the test."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed; Debian: apt-get install postgresql")
    return found


def unprivileged() -> str | None:
    """Return the user to run as: the server refuses root. None: whoever we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    pytest.skip("the tests run as root, and there is no user postgres or nobody to run a server")


class Server:
    """One server; it may be stopped, killed and started again on the same data."""

    def __init__(self, root: Path, bin_dir: Path, settings: dict[str, str]) -> None:
        self.root = root
        self.data = root / "data"
        self._bin = bin_dir
        self._settings = SETTINGS | settings
        self._user = unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def make(self) -> None:
        """Lay out the data of a new server."""
        self._own_root()
        subprocess.run(["cp", "-a", str(_fresh_data(self._bin)), str(self.data)], check=True)

    def make_replica_of(self, primary: Server) -> None:
        """Copy the data of a server that runs, to follow it from now on."""
        self._own_root()
        self._run(
            "pg_basebackup",
            *("-D", str(self.data), "-h", "127.0.0.1", "-p", str(primary.port), "-U", USER),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        )

    def promote(self) -> None:
        """Let a replica become a primary; return once it is."""
        self._run("pg_ctl", "promote", "-D", str(self.data), "-w")

    def _own_root(self) -> None:
        if self._user is not None:
            shutil.chown(self.root, self._user)

    def _run(self, program: str, *arguments: str) -> None:
        _run(self._bin, self._user, self.root, program, *arguments)

    def start(self, **settings: str) -> None:
        options = [
            word
            for name, value in (self._settings | settings).items()
            for word in ("-c", f"{name}={value}")
        ]
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._bin / "postgres",
                    *("-D", self.data, "-p", str(self.port), "-k", self.root),
                    *options,
                ],
                user=self._user,
                cwd=self.root,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
                stdout=log,
                stderr=log,
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        until = time.monotonic() + READY_WITHIN_S
        ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            assert self._process.poll() is None, (self.root / "log").read_text()[-2_000:]
            assert time.monotonic() < until, "the server does not come up"
            time.sleep(0.05)

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        if self._process is None:
            return
        signals = {"smart": 15, "fast": 2, "immediate": 3}
        self._process.send_signal(signals[mode])
        try:
            self._process.wait(READY_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def url(self, *, port: int | None = None, database: str = "postgres") -> str:
        word = PASSWORD.replace(" ", "%20")
        return f"postgresql://{USER}:{word}@127.0.0.1:{port or self.port}/{database}"


def _run(bin_dir: Path, user: str | None, folder: Path, program: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(bin_dir / program), *arguments],
        check=False,
        user=user,
        cwd=folder,
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "PGPASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout.decode()


@functools.cache
def _fresh_data(bin_dir: Path) -> Path:
    """Return the data of a server that was never started, made once in a process."""
    folder = Path(tempfile.mkdtemp(prefix="larkd-postgres-fresh-", dir="/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    user = unprivileged()
    password = folder / "password"
    password.write_text(PASSWORD)
    if user is not None:
        for path in (folder, password):
            shutil.chown(path, user)
    data = folder / "data"
    _run(
        bin_dir,
        user,
        folder,
        "initdb",
        *("-D", str(data), "-U", USER, "--pwfile", str(password)),
        *("--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--no-sync"),
        *("--locale", "C"),
    )
    return data


@contextmanager
def running(**settings: str) -> Iterator[Server]:
    """Run a server while the block runs; skip the test where PostgreSQL is missing."""
    with _placed(settings) as server:
        server.make()
        server.start()
        yield server


@contextmanager
def replicated() -> Iterator[tuple[Server, Server]]:
    """Run a primary and a replica for which every commit waits."""
    with running(synchronous_standby_names="*") as primary, _placed({}) as replica:
        replica.make_replica_of(primary)
        replica.start()
        yield primary, replica


@contextmanager
def _placed(settings: dict[str, str]) -> Iterator[Server]:
    bin_dir = require()
    with tempfile.TemporaryDirectory(prefix="larkd-postgres-", dir="/tmp") as directory:
        server = Server(Path(directory), bin_dir, settings)
        try:
            yield server
        finally:
            server.stop("immediate")
