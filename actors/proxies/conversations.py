"""Which conversation of its agent a session had last, so that it goes on after a crash.

One small private file a session in the state directory: it outlives the agent, this
process and the daemon. Where there is no state directory, nothing is remembered.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from actors.proxies.settings import ProxySettings

FILE_BYTES_MAX: Final = 64 * 1024


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    cwd: str
    command: tuple[str, ...]
    conversation_id: str


class Conversations:
    """The file of one session. Failures are no reason to stop: the next one begins anew."""

    def __init__(self, settings: ProxySettings, cwd: str, command: tuple[str, ...]) -> None:
        self._session_id = settings.session_id
        self._cwd = cwd
        self._command = command
        self._path: Path | None = None
        if settings.state_dir is not None:
            name = hashlib.sha256(settings.session_id.encode()).hexdigest()[:32]
            self._path = settings.state_dir / "conversations" / f"{name}.json"

    def last(self) -> str:
        """Return the id of the last conversation of this agent in this directory, or none."""
        if self._path is None:
            return ""
        try:
            with self._path.open("rb") as file:
                found = msgspec.json.decode(file.read(FILE_BYTES_MAX), type=Conversation)
        except (OSError, msgspec.DecodeError, UnicodeError):
            return ""
        ours = (found.session_id, found.cwd, found.command)
        return found.conversation_id if ours == (self._session_id, self._cwd, self._command) else ""

    def note(self, conversation_id: str) -> None:
        """Remember it, whole or not at all."""
        if self._path is None or not self._path.parent.parent.is_dir():
            return
        one = Conversation(
            session_id=self._session_id,
            cwd=self._cwd,
            command=self._command,
            conversation_id=conversation_id,
        )
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor, part = tempfile.mkstemp(dir=self._path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(msgspec.json.encode(one))
                Path(part).replace(self._path)
            finally:
                with suppress(OSError):
                    Path(part).unlink()
