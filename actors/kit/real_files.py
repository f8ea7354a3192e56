"""Reading a file by its real path, whatever somebody puts in its place meanwhile."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_FOLDER: Final = os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW | getattr(os, "O_PATH", os.O_RDONLY)


class NotAFile(ValueError):
    """What is there is no regular file."""


@contextmanager
def open_folder(real: Path, *, make: int | None = None) -> Iterator[int]:
    """Open a directory at a resolved absolute path, part by part; no link is followed.

    What is missing is made with the mode *make*, where one is given.

    Raises:
        OSError: it can't be opened, or a part of the path is a link.
    """
    folder = os.open(real.anchor, _FOLDER)
    try:
        for part in real.parts[1:]:
            if make is not None:
                with suppress(FileExistsError):
                    os.mkdir(part, make, dir_fd=folder)
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def read_real(real: Path, bytes_max: int) -> bytes:
    """Return at most *bytes_max* bytes of the file at a resolved absolute path.

    The path was checked as it is written, so no link may stand in it by now: each part is
    opened in the one before. A pipe is not waited for.

    Raises:
        OSError: it can't be read, or a part of the path is a link.
        NotAFile: it is no regular file.
    """
    with open_folder(real.parent) as folder:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        descriptor = os.open(real.name or ".", flags, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotAFile("not a file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(bytes_max)
    finally:
        os.close(descriptor)
