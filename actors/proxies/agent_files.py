"""The files an agent may ask for: text, inside its working directory, and no further."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

TEXT_BYTES_MAX: Final = 16 * 1024 * 1024


class AgentFiles:
    """Reads and writes below one directory; links that lead out of it lead nowhere."""

    def __init__(self, cwd: str) -> None:
        self._root = Path(os.path.realpath(cwd))

    def read(self, params: Mapping[str, Any]) -> str:
        """Return the text at ``path``, from ``line`` on, ``limit`` lines at most.

        Raises:
            ValueError: no path inside the directory, or no text of a size to read.
            OSError: it can't be read.
        """
        path = self._inside(params)
        with path.open("rb") as file:
            data = file.read(TEXT_BYTES_MAX + 1)
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
            ValueError: no path inside the directory, or no text.
            OSError: it can't be written.
        """
        path, content = self._inside(params), params.get("content")
        if not isinstance(content, str):
            raise ValueError("content must be a string")  # noqa: TRY004  # answered as bad input
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content.encode())
            Path(part).chmod(mode)
            Path(part).replace(path)
        finally:
            with suppress(OSError):
                Path(part).unlink()

    def _inside(self, params: Mapping[str, Any]) -> Path:
        named = params.get("path")
        if not isinstance(named, str) or not Path(named).is_absolute():
            raise ValueError("path must be absolute")
        path = Path(os.path.realpath(named))
        if not path.is_relative_to(self._root) or path == self._root:
            raise ValueError(f"{named} is not inside {self._root}")
        return path
