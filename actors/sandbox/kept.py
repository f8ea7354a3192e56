"""What a sandbox keeps from run to run, if asked to: its token and its app's secret.

With them an open page and a written configuration stay valid after a restart on the
same port. The file is its owner's alone, as every file with a secret is.
"""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path
from typing import Final

import msgspec

BYTES_MAX: Final = 4_096
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Empty ones are made anew by each run."""

    token: str = ""
    app_secret: str = ""


class NotKept(Exception):
    """The file can't be trusted or read; the text is why, and what to do."""


def read_or_make(path: Path, rng: random.Random) -> Kept:
    """Return what *path* keeps, made now if there is no such file.

    Raises:
        NotKept: it is a link, another user's, readable by others, or no such file.
        OSError: it can't be read or written.
    """
    made = Kept(token=f"{rng.getrandbits(192):048x}", app_secret=f"{rng.getrandbits(160):040x}")
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return _read(path)
    with os.fdopen(number, "wb") as file:
        file.write(msgspec.json.encode(made))
    return made


def _read(path: Path) -> Kept:
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as failed:
        raise NotKept(f"{path}: {failed.strerror}; remove it") from failed
    with os.fdopen(number, "rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & _OTHERS:
            raise NotKept(f"{path} is open to other users; remove it, a new one is made")
        try:
            return msgspec.json.decode(file.read(BYTES_MAX), type=Kept)
        except msgspec.MsgspecError as wrong:
            raise NotKept(f"{path}: {wrong}; remove it, a new one is made") from wrong
