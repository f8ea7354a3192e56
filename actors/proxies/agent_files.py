"""The files an agent may ask for: text, inside its working directory, and no further."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from actors.kit.real_files import open_folder, read_real

TEXT_BYTES_MAX: Final = 16 * 1024 * 1024
NEW_FILE: Final = 0o644
NEW_DIRECTORY: Final = 0o755
PRIVATE: Final = 0o600


class AgentFiles:
    """Reads and writes below one directory; links that lead out of it lead nowhere.

    A path is resolved and checked, and then opened part by part without following any link:
    what is put in its place meanwhile leads nowhere either.
    """

    def __init__(self, cwd: str) -> None:
        self._root = Path(os.path.realpath(cwd))

    def read(self, params: Mapping[str, Any]) -> str:
        """Return the text at ``path``, from ``line`` on, ``limit`` lines at most.

        Raises:
            ValueError: no path inside the directory, or no text of a size to read.
            OSError: it can't be read.
        """
        path = self._inside(params)
        data = read_real(path, TEXT_BYTES_MAX + 1)
        if len(data) > TEXT_BYTES_MAX:
            raise ValueError(f"{path} is over {TEXT_BYTES_MAX} bytes")
        try:
            text = data.decode()
        except UnicodeDecodeError as wrong:
            raise ValueError(f"{path} is no UTF-8 text") from wrong
        line, limit = params.get("line"), params.get("limit")
        if not isinstance(line, int) and not isinstance(limit, int):
            return text
        first = max(1, line) - 1 if isinstance(line, int) else 0
        last = first + max(0, limit) if isinstance(limit, int) else None
        return "".join(text.splitlines(keepends=True)[first:last])

    def write(self, params: Mapping[str, Any]) -> None:
        """Replace the text at ``path``, whole or not at all.

        Raises:
            ValueError: no path inside the directory, no regular file there, or no text.
            OSError: it can't be written.
        """
        path, content = self._inside(params), params.get("content")
        if not isinstance(content, str):
            raise ValueError("content must be a string")  # noqa: TRY004  # answered as bad input
        data = content.encode(errors="replace")  # half of a surrogate pair, as JSON can carry it
        with open_folder(path.parent, make=NEW_DIRECTORY) as folder:
            _replace(folder, path.name, data)

    def _inside(self, params: Mapping[str, Any]) -> Path:
        named = params.get("path")
        if not isinstance(named, str) or not Path(named).is_absolute():
            raise ValueError("path must be absolute")
        path = Path(os.path.realpath(named))
        if not path.is_relative_to(self._root) or path == self._root:
            raise ValueError(f"{named} is not inside {self._root}")
        return path


def _replace(folder: int, name: str, data: bytes) -> None:
    mode = NEW_FILE
    with suppress(FileNotFoundError):
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(there.st_mode):
            raise ValueError(f"{name} is no file")
        mode = stat.S_IMODE(there.st_mode) & 0o777
    part = f".{secrets.token_hex(8)}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(part, flags, PRIVATE, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
        os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with suppress(OSError):
            os.unlink(part, dir_fd=folder)
