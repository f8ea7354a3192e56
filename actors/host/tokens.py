"""The role tokens of a state directory: made, read, watched, and rotated.

A token proves a role (``protocol.wire.auth``); who can read its file may take the role. So
a file that others can read, or that is no token, proves nothing until it is replaced.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from actors.host.advice import command_for, start_of
from actors.host.state_dir import write_private
from protocol.config.places import TOKEN_CHARACTERS, StateDir
from protocol.errors import ConfigurationError
from protocol.wire.auth import Keyring, Verified
from protocol.wire.console import role_of
from protocol.wire.messages import Register
from protocol.wire.vocabulary import ROLES, Role

TOKEN_BYTES: Final = 32
_TOKEN: Final = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_CHARACTERS}}}", re.ASCII)

_Seen = tuple[int, int, int]
"""What changes when a file is replaced or opened to others: inode, ctime (ns), size."""

log = structlog.get_logger()

Mint = Callable[[int], str]
"""``secrets.token_urlsafe``: so many random bytes, as URL-safe text."""


class TokenFiles:
    """The keys in force: the files as they are now, so that a rotation needs no restart."""

    def __init__(self, state: StateDir, keys: dict[Role, bytes]) -> None:
        self._state = state
        self._keys: dict[Role, bytes] = dict(keys)
        self._seen: dict[Role, _Seen | None] = {}

    def __repr__(self) -> str:
        return f"TokenFiles({self._state.tokens})"

    def verify(self, nonce: bytes, register: Register) -> Verified | None:
        """Check the proof of *register* with the tokens as they are now (``Keyring.verify``).

        Looks at three small files of a local directory: some 10 µs, once a registration.
        """
        self._refresh()
        return Keyring(self._keys).verify(nonce, register)

    def console_role(self, token: str) -> Role | None:
        """Return the role whose console token this is; None: nobody's."""
        self._refresh()
        return role_of(token, self._keys)

    def _refresh(self) -> None:
        for each in ROLES:
            seen = self._look(each)
            if each not in self._seen or seen != self._seen[each]:
                self._seen[each] = seen
                self._read(each)

    def _look(self, role: Role) -> _Seen | None:
        try:
            about = self._state.token(role).lstat()
        except OSError:
            return None
        return about.st_ino, about.st_ctime_ns, about.st_size

    def _read(self, role: Role) -> None:
        try:
            key = read_token(self._state.token(role))
        except ConfigurationError as wrong:
            self._keys.pop(role, None)
            log.error("auth.token_unusable", role=role, reason=str(wrong))  # noqa: TRY400  # the operator's mistake, no trace of ours
            return
        if key != self._keys.get(role):
            self._keys[role] = key
            log.info("auth.token_changed", role=role)


def open_tokens(state: StateDir, mint: Mint) -> TokenFiles:
    """Return the tokens of a state directory; at its first start they are made.

    Call it with the lock held.

    Raises:
        ConfigurationError: a token is missing though a daemon served here before, or is
            empty, malformed or open to others; a line each.
        OSError: one can't be made.
    """
    keys: dict[Role, bytes] = {}
    problems: list[str] = []
    first_start = not state.database.exists()
    for role in ROLES:
        path = state.token(role)
        try:
            # Also a dangling link is refused below, not replaced.
            if first_start and not os.path.lexists(path):
                write_private(path, mint(TOKEN_BYTES).encode())
            keys[role] = read_token(path)
        except ConfigurationError as wrong:
            problems += wrong.problems
    if problems:
        raise ConfigurationError(*problems)
    return TokenFiles(state, keys)


def rotate(state: StateDir, role: Role, mint: Mint) -> Path:
    """Replace a role's token by a new one, whole or not at all; return its file.

    A running daemon takes it from the next registration on. Connections that are open
    stay: they have proven themselves.

    Raises:
        ConfigurationError: there is no state directory, or it can't be written.
    """
    path = state.token(role)
    if not state.tokens.is_dir():
        raise ConfigurationError(
            f"{state.root} is not the state directory of a larkd;"
            f" start it once ({start_of(state)}), or name the right one with --state-dir"
        )
    try:
        if path.is_dir() and not path.is_symlink():
            raise ConfigurationError(f"{path} is a directory; remove it and call this again")
        write_private(path, mint(TOKEN_BYTES).encode())
    except OSError as failed:
        raise ConfigurationError(
            f"{path} can't be replaced: {failed.strerror or failed};"
            " run this as the user of the daemon"
        ) from None
    return path


def read_token(path: Path) -> bytes:
    """Return the key in a token file, ``tokens/<role>.token`` of a state directory.

    Raises:
        ConfigurationError: it is missing, malformed, or others than its user may read it.
    """
    anew = command_for(StateDir(path.parent.parent), "tokens", "rotate", path.stem)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ConfigurationError(f"{path} is missing; make a new one: {anew}") from None
    except OSError as failed:
        raise ConfigurationError(
            f"{path} can't be read: {failed.strerror or failed};"
            f" run this as the user of the daemon, or make a new one: {anew}"
        ) from None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise ConfigurationError(f"{path} is not a file; remove it and make a new one: {anew}")
        if about.st_mode & 0o077:
            raise ConfigurationError(
                f"{path} can be read by other users (mode {stat.S_IMODE(about.st_mode):04o});"
                f" make a new one: {anew} (or chmod 600 {path} if nobody has read it)"
            )
        key = os.read(descriptor, TOKEN_CHARACTERS + 2).removesuffix(b"\n")
    finally:
        os.close(descriptor)
    if not _TOKEN.fullmatch(key.decode("latin-1")):
        what = "is empty" if not key else f"is not {TOKEN_CHARACTERS} URL-safe characters"
        raise ConfigurationError(f"{path} {what}; make a new one: {anew}")
    return key
