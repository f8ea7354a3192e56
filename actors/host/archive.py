"""A backup as one file: the journal and the tokens in a gzipped tar archive, 0600."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from actors.host.state_dir import PRIVATE_FILE, write_private
from protocol.errors import ConfigurationError

MANIFEST: Final = "larkd-backup.json"
FORMAT: Final = 1
MEMBER_BYTES_MAX: Final = 64 * 1024**3
"""Far beyond a journal of years; a bound for what an archive may make us write."""
MEMBERS_MAX: Final = 64
"""A backup has five."""
_COPY_BYTES: Final = 1024 * 1024


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The archive's first member: what it is, so that nothing else is taken for it."""

    format: int = FORMAT
    larkd: str
    made_at: int
    """Milliseconds since 1970."""


def write(target: Path, manifest: Manifest, files: Mapping[str, Path]) -> None:
    """Write *files*, by their names in the archive, whole or not at all.

    Raises:
        ConfigurationError: *target* is something that is no backup.
        OSError: it can't be written.
    """
    if target.exists() and read_manifest(target) is None:
        raise ConfigurationError(f"{target} exists and is no backup of larkd; name another file")
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(fresh, flags, PRIVATE_FILE)
    try:
        with (
            open(descriptor, "wb") as file,  # noqa: PTH123  # of a descriptor, not a path
            tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive,
        ):
            about = msgspec.json.encode(manifest)
            member = tarfile.TarInfo(MANIFEST)
            member.size, member.mode = len(about), PRIVATE_FILE
            archive.addfile(member, io.BytesIO(about))
            for name, path in files.items():
                archive.add(path, name, recursive=False)
        _sync(fresh)
        fresh.replace(target)
        _sync(target.parent)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def read_manifest(path: Path) -> Manifest | None:
    """Return what the archive is; None where it is no backup."""
    try:
        with _reading(path) as archive:
            first = archive.next()
            if first is None or first.name != MANIFEST or not first.isreg():
                return None
            content = archive.extractfile(first)
            assert content is not None
            return msgspec.json.decode(content.read(64 * 1024), type=Manifest)
    except (OSError, EOFError, tarfile.TarError, msgspec.DecodeError):
        return None


def extract(path: Path, wanted: Mapping[str, Path]) -> set[str]:
    """Write the members that are *wanted* to their places; return which there were.

    Only these names are written, each to the place given here, whatever the archive holds.

    Raises:
        ConfigurationError: the archive is cut off or damaged.
    """
    found = set()
    try:
        with _reading(path) as archive:
            for number, member in enumerate(archive):
                if number >= MEMBERS_MAX:
                    raise tarfile.ReadError(f"over {MEMBERS_MAX} members")
                target = wanted.get(member.name)
                if target is None or not member.isreg() or member.size > MEMBER_BYTES_MAX:
                    continue
                content = archive.extractfile(member)
                assert content is not None
                _write_stream(target, content)
                found.add(member.name)
    except (EOFError, tarfile.TarError, OSError) as failed:
        raise ConfigurationError(f"{path} can't be read to its end: {failed}") from None
    return found


class _Unpacked(gzip.GzipFile):
    """What is in the archive, in pieces: a header that states a size is not read whole for it.

    ``tarfile`` reads names and attributes of a member at once, as large as it claims they are.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _COPY_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


@contextmanager
def _reading(path: Path) -> Iterator[tarfile.TarFile]:
    with _Unpacked(path, "rb") as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as archive:
        yield archive


def _write_stream(target: Path, content: IO[bytes]) -> None:
    write_private(target, b"")
    with target.open("r+b") as file:
        while data := content.read(_COPY_BYTES):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
