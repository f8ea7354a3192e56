"""Opening the journal's file: private, ours, sound as far as can be checked, and current.

What is not ours, or newer, is refused before anything is written to it.

How sound: SQLite checks the header, the size and, page by page, the checksums of what
a killed daemon left in the -wal. A file of up to :data:`CHECKED_WHOLE_PAGES_MAX` pages is
checked whole; a larger one only in its small tables, since a whole check reads all of it
and a start must not take longer the older an installation is. :func:`problems_of` is
the whole check, for whoever asks.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from actors.journal import schema
from actors.journal.errors import (
    JournalDamaged,
    JournalForeign,
    JournalNewer,
    JournalUnavailable,
)
from actors.journal.sqlite.errors import START_ANEW, explained, result_code

BUSY_TIMEOUT_MS: Final = 1_000
"""Another process may read the file; nobody else writes it for long."""
WAL_KEPT_BYTES_MAX: Final = 16 * 1024 * 1024
"""A -wal that grew beyond it, while a long reader held it, is cut back to it."""
CHECKED_WHOLE_PAGES_MAX: Final = 4_096
"""16 MiB: some 25 ms when the file is cached, of the second a start may take."""
SMALL_TABLES: Final = ("meta", "lease", "binding")
PROBLEMS_MAX: Final = 10

APPLICATION_ID: Final = 0x6C61726B  # "lark"
_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_PRIVATE: Final = 0o600
_OTHERS: Final = 0o077

log = structlog.get_logger()


def open_database(
    path: Path | None, *, migrations: Sequence[str] = schema.MIGRATIONS
) -> sqlite3.Connection:
    """Open or create the journal at *path*, in memory when None, and bring it up to date.

    Raises:
        JournalError: it can't be used; a foreign or a newer one was left untouched.
    """
    if path is not None:
        _create_private(path)
        with _explaining(path):
            _refuse_what_is_not_ours(path, len(migrations))
        _make_private(path)
    with _explaining(path):
        db = connect(path)
        try:
            _check(db, path)
            migrate(db, path, migrations)
        except BaseException:
            db.close()
            raise
    return db


def connect(path: Path | None) -> sqlite3.Connection:
    """Connect to an existing journal, with full durability.

    The connection is for one thread at a time.
    """
    target = ":memory:" if path is None else f"{path.absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(
        target,
        uri=path is not None,
        timeout=BUSY_TIMEOUT_MS / 1_000,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if path is not None and mode != "wal":
            raise JournalUnavailable(
                f"{path} can't have a write-ahead log there (journal mode {mode}); put the"
                " state directory on a local disk"
            )
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA fullfsync = ON")  # without it macOS syncs to the drive's cache only
        db.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES_MAX}")
    except BaseException:
        db.close()
        raise
    # Text that is no UTF-8 must not fail the whole query: its row is set aside.
    db.text_factory = lambda raw: raw.decode(errors="surrogateescape")
    return db


def count_start(db: sqlite3.Connection) -> int:
    """Commit one more start; return how many there were, this one included.

    Nobody is connected to a daemon that has just started, so what was offered waits
    again; its attempt stays, so that the next offer counts on.
    """
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE inbound SET state = 'ready', connection_id = NULL WHERE state = 'offered'")
    (generation,) = db.execute(
        "UPDATE meta SET value = value + 1 WHERE key = 'generation' RETURNING value"
    ).fetchone()
    db.execute("COMMIT")
    return int(generation)


def problems_of(path: Path) -> tuple[str, ...]:
    """Check the whole journal without writing to it; nothing found is an empty answer.

    It reads every page, and may run beside a daemon.

    Raises:
        JournalError: it can't be opened at all.
    """
    with _explaining(path), contextlib.closing(_connect_to_read(path)) as db:
        return _problems(db, f"PRAGMA integrity_check({PROBLEMS_MAX})")


@contextlib.contextmanager
def _explaining(path: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as failed:
        raise explained(path, failed) from failed


def _create_private(path: Path) -> None:
    """Make the file, readable by its user alone, before SQLite opens it.

    SQLite gives the -wal and -shm files the mode of the database.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE))
    except OSError as failed:
        raise JournalUnavailable(
            f"{path} can't be opened ({failed.strerror}); its directory must exist, and be"
            " writable for this user"
        ) from failed


def _make_private(path: Path) -> None:
    for file in (path, *_beside(path)):
        with contextlib.suppress(FileNotFoundError):
            mode = file.stat().st_mode & 0o777
            if mode & _OTHERS:
                file.chmod(mode & ~_OTHERS)


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _refuse_what_is_not_ours(path: Path, known: int) -> None:
    """Look at the file as it lies there: SQLite, opening it to write, might change it."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        return
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise JournalForeign(
            f"{path} is not a SQLite file; move it away, or name another state directory"
        )
    version = int.from_bytes(header[60:64], "big")
    application = int.from_bytes(header[68:72], "big")
    log, _shared = _beside(path)
    tables = 0
    if application != APPLICATION_ID or (log.exists() and log.stat().st_size):
        # A killed daemon left the newest header in the -wal, or this is another's file.
        with contextlib.closing(_connect_to_read(path)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application not in (0, APPLICATION_ID) or (tables and application == 0):
        raise JournalForeign(f"{path} is a database of another program; name another directory")
    if version > known:
        raise JournalNewer(
            f"{path} was written by a newer larkd (schema {version}, this one knows {known});"
            f" start the newer larkd, or name another state directory{_way_back(path, known)}"
        )


def _way_back(path: Path, known: int) -> str:
    """Name the newest copy that a larkd which knows *known* migrations can open."""
    for version in range(known, 0, -1):
        copy = _copy_before(path, version)
        if copy.exists():
            return (
                f"; to go back to before the upgrade, remove {path}-wal and {path}-shm where they"
                f" are left, and put {copy.name} in its place"
            )
    return ""


def _copy_before(path: Path, version: int) -> Path:
    """Where the journal is copied to before it is migrated from *version*."""
    return path.with_name(f"{path.name}.schema-{version}")


def _connect_to_read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_TIMEOUT_MS / 1_000,
        isolation_level=None,
    )


def _check(db: sqlite3.Connection, path: Path | None) -> None:
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if not version:
        return  # there are no tables yet
    if pages <= CHECKED_WHOLE_PAGES_MAX:
        found = _problems(db, f"PRAGMA quick_check({PROBLEMS_MAX})")
    else:
        found = tuple(
            problem
            for table in SMALL_TABLES
            for problem in _problems(db, f"PRAGMA quick_check('{table}')")
        )
    if found:
        raise JournalDamaged(f"{path} is damaged ({found[0]}); {START_ANEW}")


def _problems(db: sqlite3.Connection, pragma: str) -> tuple[str, ...]:
    """Return what a check finds; on bad damage it fails after its first findings."""
    found: list[str] = []
    try:
        found.extend(text for (text,) in db.execute(pragma) if text != "ok")
    except sqlite3.DatabaseError as failed:
        if result_code(failed) != sqlite3.SQLITE_CORRUPT:
            raise
        found.append(str(failed))
    return tuple(text.replace("\n", " ") for text in found)


def migrate(db: sqlite3.Connection, path: Path | None, migrations: Sequence[str]) -> None:
    """Bring the file up to date, each step in a transaction of its own.

    What an older larkd wrote is copied first: going back means to put the copy in its place.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if path is not None and 0 < version < len(migrations):
        copy = _copy_before(path, version)
        back_up(db, copy)
        log.info("journal.backed_up", file=copy.name, schema=version)
    for number in range(version, len(migrations)):
        db.executescript(
            f"BEGIN IMMEDIATE; {migrations[number]};"
            f" PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {number + 1}; COMMIT;"
        )


def back_up(db: sqlite3.Connection, copy: Path) -> None:
    """Write a consistent copy of an open journal: whole, on disk and private, or not at all.

    An older copy of that name is replaced. The journal may be written to meanwhile.

    Raises:
        JournalUnavailable: the copy can't be written; its text names the remedy.
    """
    part = copy.with_name(f"{copy.name}.part")
    try:
        part.unlink(missing_ok=True)
        _create_private(part)
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as target:
            db.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, without a -wal beside it
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(copy)
        directory = os.open(copy.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except (OSError, sqlite3.Error) as failed:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise JournalUnavailable(
            f"no copy of the journal can be made at {copy} ({failed}), and without one it is"
            " not upgraded; make its directory writable, and free as much space as the journal"
            " takes"
        ) from failed
