"""Where log lines end: threads that write, so that nobody else waits for a disk or a pipe."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from pathlib import Path
from typing import Final, Protocol, TextIO

QUEUED_LINES_MAX: Final = 4_096
"""Some seconds of a busy daemon; about 1 MiB."""
GATHER_S: Final = 0.05
"""How old a line may be when it is written."""
WRITTEN_CHARACTERS_MAX: Final = 65_536
"""At once."""


class Writer(Protocol):
    def write(self, lines: str) -> None: ...

    def close(self) -> None: ...


class Sink:
    """Takes lines at once and writes them when it can. A full queue loses the newest.

    Its thread lets lines gather for a moment and writes them together: to wake a thread
    and to write costs more than a line.
    """

    def __init__(self, name: str, writer: Writer) -> None:
        self.lost = 0
        self._writer = writer
        self._lines: deque[str] = deque()
        self._waiting = threading.Event()
        self._closed = threading.Event()
        # A daemon thread: a write that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=f"log-{name}", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        if self._closed.is_set() or len(self._lines) >= QUEUED_LINES_MAX:
            self.lost += 1
            return
        self._lines.append(line)
        if not self._waiting.is_set():
            self._waiting.set()

    def close(self, *, within_s: float) -> None:
        """Write what is queued, as far as it goes within the deadline."""
        self._closed.set()
        self._waiting.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        while self._lines or not self._closed.is_set():
            self._waiting.wait()
            self._closed.wait(GATHER_S)
            self._waiting.clear()
            while self._lines:
                self._write()
        with contextlib.suppress(OSError, ValueError):
            self._writer.close()

    def _write(self) -> None:
        lines: list[str] = []
        size = 0
        while self._lines and size < WRITTEN_CHARACTERS_MAX:
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        try:
            self._writer.write("\n".join(lines) + "\n")
        except (OSError, ValueError):
            # Closed terminal, full disk: the next lines may do better.
            self.lost += len(lines)


class StreamWriter:
    """Standard error, which is not ours to close."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, lines: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(lines.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


class RotatingFile:
    """Appends to a file; when it is full the older ones move up and the oldest goes."""

    def __init__(self, path: Path, bytes_max: int, kept: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._kept = kept
        self._descriptor: int | None = None
        self._torn = False

    def write(self, lines: str) -> None:
        data = b"\n" * self._torn + lines.encode("utf-8", "backslashreplace")
        try:
            written = os.write(self._open(len(data)), data)
        except OSError:
            self.close()
            raise
        self._torn = written < len(data)
        if self._torn:
            self.close()
            raise OSError("the line was cut: the disk is full")

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self, coming: int) -> int:
        if self._descriptor is not None:
            size = os.fstat(self._descriptor).st_size
            if not size or size + coming <= self._bytes_max:
                return self._descriptor
            self.close()
            self._rotate()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        # A file that was there may have been open to others; its lines name people and chats.
        os.fchmod(self._descriptor, 0o600)
        return self._descriptor

    def _rotate(self) -> None:
        for number in range(self._kept, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = (
                self._path.with_name(f"{self._path.name}.{number - 1}")
                if number > 1
                else self._path
            )
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)
