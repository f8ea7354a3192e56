"""The state directory of one daemon: made, locked, and the record of the daemon that serves it.

What is in it is named by ``protocol.config.places``. All of this runs before the event loop
starts serving; every refusal names its remedy.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from protocol.config.places import DaemonInfo, StateDir
from protocol.errors import ConfigurationError

PRIVATE_DIR: Final = 0o700
PRIVATE_FILE: Final = 0o600
_OTHERS: Final = 0o077
NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
_SMALL_FILE_BYTES: Final = 64 * 1024
_PID_READS: Final = 20
_PID_READ_EVERY_S: Final = 0.01
"""Between taking the lock and writing its pid the other daemon needs some µs."""


class AlreadyRunning(Exception):
    """Another daemon holds the lock of this state directory. Exit status 3."""

    def __init__(self, pid: int | None) -> None:
        who = "pid unknown" if pid is None else f"pid {pid}"
        super().__init__(f"another larkd ({who}) is serving this state directory")
        self.pid = pid


def create(state: StateDir) -> None:
    """Make the directory, private to its user, unless it is there.

    Raises:
        ConfigurationError: it can't be made, entered or written, or anybody may write.
    """
    with usable(state):
        _create(state)


def _create(state: StateDir) -> None:
    root = state.root
    if not root.exists():
        root.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    if not root.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is not a directory")
    _make_private(root)
    for file in (state.lock, state.log, *_journal_files(state)):
        _check_file(file)
    for inner in (state.tokens, state.attachments):
        inner.mkdir(mode=PRIVATE_DIR, exist_ok=True)
        if inner.is_symlink():
            raise NotADirectoryError(
                errno.ENOTDIR,
                f"{inner.name} is a symbolic link; put the directory itself there",
            )
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "it is not writable")


def check_readable(state: StateDir) -> None:
    """Refuse a directory that this user can't look into; one that is not there is none.

    Raises:
        ConfigurationError: it is another user's, or closed.
    """
    with usable(state):
        try:
            about = state.root.stat()
        except (FileNotFoundError, NotADirectoryError):
            return
        with contextlib.suppress(PermissionError):
            (state.root / ".").stat()
            os.close(os.open(state.root, os.O_RDONLY | os.O_CLOEXEC))
            return
        if about.st_uid != os.geteuid():
            raise _of_another_user(about)
        raise PermissionError(
            errno.EACCES,
            f"it is closed to its own user (mode {stat.S_IMODE(about.st_mode):04o});"
            f" chmod 700 {state.root}",
        )


def _of_another_user(about: os.stat_result) -> PermissionError:
    return PermissionError(
        errno.EPERM, f"it belongs to another user (uid {about.st_uid}); run this as that user"
    )


def _make_private(root: Path) -> None:
    """Close the directory to others; refuse one that they could write to.

    Raises:
        OSError: it is another user's, or others may have put files into it.
    """
    about = root.stat()
    if about.st_uid != os.geteuid():
        raise _of_another_user(about)
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(
            errno.EPERM,
            f"other users may write to it (mode {stat.S_IMODE(about.st_mode):04o});"
            f" look at what is in it, then: chmod 700 {root}",
        )
    if about.st_mode & _OTHERS:
        root.chmod(PRIVATE_DIR)


def _journal_files(state: StateDir) -> tuple[Path, ...]:
    database = state.database
    return (database, *(database.with_name(f"{database.name}{end}") for end in ("-wal", "-shm")))


def _check_file(path: Path) -> None:
    """Refuse what is no file of ours, and close a file to others.

    Raises:
        OSError: a link, no regular file, or another user's.
    """
    try:
        about = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(about.st_mode):
        raise PermissionError(
            errno.EPERM,
            f"{path.name} is a symbolic link; put the file itself there"
            " (a state directory elsewhere is named by --state-dir)",
        )
    if not stat.S_ISREG(about.st_mode):
        raise PermissionError(errno.EPERM, f"{path.name} is not a file; remove it")
    if about.st_uid != os.geteuid():
        raise PermissionError(
            errno.EPERM,
            f"{path.name} belongs to another user (uid {about.st_uid});"
            f" if you trust it: chown {os.geteuid()} {path}",
        )
    if about.st_mode & _OTHERS:
        path.chmod(PRIVATE_FILE)


@contextlib.contextmanager
def usable(state: StateDir) -> Iterator[None]:
    """Name the directory, and what to do, where the system refuses something in the block.

    Raises:
        ConfigurationError: it did.
    """
    try:
        yield
    except OSError as failed:
        first = "free some space there, or " if failed.errno in NO_SPACE else ""
        raise ConfigurationError(
            f"the state directory {state.root} can't be used: {failed.strerror or failed};"
            f" {first}name another one with --state-dir or LARKD_STATE_DIR"
        ) from None


@contextlib.contextmanager
def locked(state: StateDir) -> Iterator[None]:
    """Hold the one lock of the directory. The system frees it when the process dies.

    Raises:
        AlreadyRunning: another daemon holds it.
        ConfigurationError: the directory can't be written, or can't be locked.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with usable(state):
        descriptor = os.open(state.lock, flags, PRIVATE_FILE)
    try:
        with usable(state):
            try:
                _take(descriptor)
            except BlockingIOError:
                raise AlreadyRunning(_pid_in(descriptor)) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # The file stays: removing it would let two daemons lock two files of one name.
        os.close(descriptor)


def _take(descriptor: int) -> None:
    """Take the lock; whoever only looks (``serving_pid``) holds it for some µs."""
    for _ in range(_PID_READS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_PID_READ_EVERY_S)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def serving_pid(state: StateDir) -> int | None:
    """Return the process that holds the lock of *state*; None where nobody serves it.

    The lock is asked, not a file's content: it dies with the process, a pid may be reused.
    """
    try:
        descriptor = os.open(state.lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(descriptor)
    finally:
        os.close(descriptor)
    return None


def _pid_in(descriptor: int) -> int | None:
    for _ in range(_PID_READS):
        written = os.pread(descriptor, 32, 0)
        if written.endswith(b"\n") and written.strip().isdigit():
            return int(written)
        time.sleep(_PID_READ_EVERY_S)
    return None


# ── daemon.json ─────────────────────────────────────────────────────────────


def write_daemon_info(state: StateDir, info: DaemonInfo) -> None:
    """Record where this daemon serves. Call it with the lock held, once it listens."""
    write_private(state.daemon_json, msgspec.json.encode(info) + b"\n")


def remove_daemon_info(state: StateDir) -> None:
    """Remove the record of the daemon. Never fails: the way out must go on."""
    with contextlib.suppress(OSError):
        state.daemon_json.unlink(missing_ok=True)


def read_daemon_info(state: StateDir) -> DaemonInfo | None:
    """Return the daemon's record; None where it is missing or unreadable."""
    try:
        with state.daemon_json.open("rb") as file:
            return msgspec.json.decode(file.read(_SMALL_FILE_BYTES), type=DaemonInfo)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def write_private(path: Path, content: bytes) -> None:
    """Replace *path* by *content*, whole or not at all, readable by its user only."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(fresh, flags, PRIVATE_FILE)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  # of a descriptor, not a path
            os.fchmod(descriptor, PRIVATE_FILE)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
