"""Attachments inside the agent's own directory, where it may read them without asking.

A daemon of this machine keeps what it downloads in its state directory; agents ask people for
leave to read there. So each file is copied to ``.larkd/attachments/<message>/<its own name>``
below the working directory, which git ignores as a whole. It goes when the daemon's own copy
does, a week later.

Nothing is followed on the way: a ``.larkd`` that is a link to elsewhere, as a repository may
bring one, is left alone, and the file is read where the daemon has it.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Final

import msgspec

from actors.kit.plain import plain
from protocol.agents.pictures import SUFFIXES, mime_type_of
from protocol.wire import messages as wire

FOLDER: Final = (".larkd", "attachments")
KEPT_S: Final = 7 * 24 * 3_600
"""As long as the daemon keeps its own."""
FOLDERS_LOOKED_AT_MAX: Final = 1_000
COPIED_AT_ONCE_BYTES: Final = 1024 * 1024
PRIVATE_DIR: Final = 0o700
PRIVATE_FILE: Final = 0o600
NAME_BYTES_MAX: Final = 200
"""File systems take 255."""

_FOLDER_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


def placed(deliver: wire.Deliver, cwd: str) -> wire.Deliver:
    """Return the message with its files below *cwd*, as far as they could be copied there.

    Blocks for as long as the copies take: to be run in a thread. What can't be copied stays
    where it is, and the reason is on standard error. A file that is on another machine has
    no path, and the text notes it.
    """
    if all(one.path is None for one in deliver.attachments):
        return deliver
    folder = deliver.meta.get("message_id", "")
    if not _FOLDER_NAME.fullmatch(folder):
        folder = re.sub(r"[^A-Za-z0-9_-]", "_", deliver.event_id)[:128]
    try:
        with _directory(cwd, FOLDER[:1]) as ignored:
            _ignore(ignored)
        with _directory(cwd, FOLDER) as all_of_them:
            _remove_old(all_of_them, time.time() - KEPT_S)
        with _directory(cwd, (*FOLDER, folder)) as inner:
            where = Path(cwd, *FOLDER, folder)
            taken: set[str] = set()
            attachments = [_copied(one, inner, where, taken) for one in deliver.attachments]
    except OSError as failed:
        sys.stderr.write(f"larkd: attachments stay outside of {cwd}: {failed.strerror}\n")
        return deliver
    missing = [
        f"[{one.kind} {one.name}: {one.note}]"
        for one, before in zip(attachments, deliver.attachments, strict=True)
        if one.note != before.note
    ]
    return msgspec.structs.replace(
        deliver,
        content="\n\n".join((deliver.content, *missing)),
        attachments=attachments,
    )


def _copied(one: wire.Attachment, folder_fd: int, where: Path, taken: set[str]) -> wire.Attachment:
    if one.path is None:
        return one
    source = Path(one.path)
    try:
        with source.open("rb") as file:
            first = file.read(COPIED_AT_ONCE_BYTES)
            name = _free(_named(one, first), taken)
            if not source.is_relative_to(where.parent):
                _write(folder_fd, name, first, file.read)
            elif source != where / name:  # fetched from a daemon elsewhere
                os.replace(source, name, dst_dir_fd=folder_fd)
    except FileNotFoundError:
        note = "it is not on this machine"
        return msgspec.structs.replace(one, path=None, note=note)
    except OSError as failed:
        sys.stderr.write(plain(f"larkd: {one.path} was not copied: {failed.strerror}") + "\n")
        return one
    return msgspec.structs.replace(one, path=str(where / name))


def _named(one: wire.Attachment, first: bytes) -> str:
    """Return its own name, one part of a path; a picture's names what it is."""
    own = PurePath(re.split(r"[/\\\0]", one.name)[-1])
    stem, suffix = own.stem, own.suffix
    if one.kind == "image" and not suffix:
        suffix = SUFFIXES.get(mime_type_of(first) or "", "")
    stem = "file" if stem in ("", ".", "..") else stem
    left = max(0, NAME_BYTES_MAX - len(suffix.encode()))
    return stem.encode()[:left].decode(errors="ignore") + suffix


def _free(name: str, taken: set[str]) -> str:
    """Return the name, or the first with a number that no other file of the message has."""
    own, number = PurePath(name), 1
    while name.casefold() in taken:
        number += 1
        name = f"{own.stem}-{number}{own.suffix}"
    taken.add(name.casefold())
    return name


# ── on disk ─────────────────────────────────────────────────────────────────


@contextmanager
def _directory(root: str, parts: tuple[str, ...]) -> Iterator[int]:
    """Open a directory below *root*, made where it is missing; no link on the way is followed."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            with suppress(FileExistsError):
                os.mkdir(part, PRIVATE_DIR, dir_fd=fd)
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def _ignore(folder_fd: int) -> None:
    with suppress(FileExistsError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = os.open(".gitignore", flags, 0o644, dir_fd=folder_fd)
        with open(fd, "wb") as file:  # noqa: PTH123  # of a descriptor
            file.write(b"*\n")


def _write(folder_fd: int, name: str, first: bytes, read: Callable[[int], bytes]) -> None:
    """Write a copy, whole or not at all: who reads it by its name never sees a part."""
    part = f".{name[:40]}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    fd = os.open(part, flags, PRIVATE_FILE, dir_fd=folder_fd)
    with open(fd, "wb") as file:  # noqa: PTH123  # of a descriptor
        data = first
        while data:
            file.write(data)
            data = read(COPIED_AT_ONCE_BYTES)
    os.replace(part, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)


def _remove_old(folder_fd: int, before_s: float) -> None:
    """Remove the folders of messages that nobody was given lately; what fails stays."""
    for name in os.listdir(folder_fd)[:FOLDERS_LOOKED_AT_MAX]:
        with suppress(OSError):
            if os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mtime >= before_s:
                continue
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            inner = os.open(name, flags, dir_fd=folder_fd)
            try:
                for file in os.listdir(inner):  # noqa: PTH208  # of a descriptor
                    os.unlink(file, dir_fd=inner)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=folder_fd)
