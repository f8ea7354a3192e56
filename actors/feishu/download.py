"""Saving what a message carries: streamed to a file that is whole, or not there."""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from actors.feishu.exchange import HttpAnswer
from protocol.platform.outcomes import Downloaded, NoAnswer, Oversize

PRIVATE: Final = 0o600
_parts: Final = itertools.count(1)
InThread = Callable[..., Awaitable[Any]]
"""``in_thread(function, *args)`` runs what waits for the disk, and returns what that returns."""
WRITE_BYTES: Final = 256 * 1024
"""Of one write, so that a file costs few trips to a thread."""


def is_encoded(answer: HttpAnswer) -> bool:
    """Whether the body is packed although it was asked for as it is.

    Some thousand bytes may unpack to gigabytes, all at once.
    """
    encoding: str = answer.headers.get("content-encoding", "identity")
    return encoding.strip().lower() != "identity"


def is_file(answer: HttpAnswer) -> bool:
    """Whether this answer is what was asked for, and not an envelope with an error."""
    if answer.status // 100 != 2 or is_encoded(answer):
        return False
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    return not is_json or "content-disposition" in answer.headers


async def save(
    answer: HttpAnswer, path: Path, bytes_max: int, in_thread: InThread
) -> Downloaded | Oversize | NoAnswer:
    """Write the body to *path*, through a temporary file beside it.

    Cancelled, or failed, it leaves no file.

    Raises:
        OSError, h11.ProtocolError, trio.BrokenResourceError: the connection broke.
    """
    # Of its own: an earlier attempt whose asker gave up may still write.
    part = path.with_name(f"{path.name}.{next(_parts)}.part")
    try:
        size = await _write(answer, part, bytes_max, in_thread)
        if size is None:
            return Oversize(bytes_max=bytes_max)
        part.replace(path)  # one system call on a local disk
        return Downloaded(size=size)
    except OSError as failed:
        return NoAnswer(reason=f"it could not be saved: {failed.strerror}")
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)  # as above


async def _write(answer: HttpAnswer, part: Path, bytes_max: int, in_thread: InThread) -> int | None:
    length = answer.headers.get("content-length", "")
    if length.isdecimal() and int(length) > bytes_max:
        return None
    size = 0
    waiting = bytearray()
    with _created(part) as file:
        while (chunk := await answer.chunk()) is not None:
            size += len(chunk)
            if size > bytes_max:
                return None
            waiting += chunk
            if len(waiting) >= WRITE_BYTES:
                await in_thread(file.write, bytes(waiting))
                waiting.clear()
        if waiting:
            await in_thread(file.write, bytes(waiting))
    return size


def _created(part: Path) -> BinaryIO:
    """Open a new file that nobody else may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    return os.fdopen(os.open(part, flags, PRIVATE), "wb")
