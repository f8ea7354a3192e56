"""Which conversation of its agent a session is in: the daemon keeps it, this reports it.

Only a conversation in which a prompt was given is reported: one without can't be lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import trio

from actors.proxies.agent_session import SessionBegun
from actors.proxies.client import LinkChanged
from actors.proxies.errors import ProxyError
from actors.proxies.settings import ProxySettings
from protocol.wire import messages as wire
from protocol.wire.vocabulary import ConversationState

FILE_BYTES_MAX: Final = 64 * 1024
TITLE_CHARACTERS_MAX: Final = 80


class Conversations:
    """The conversation of one session. A :data:`LinkChanged`: it learns what the daemon kept."""

    def __init__(self, old: OldRecord, beside: LinkChanged) -> None:
        self._old = old
        self._beside = beside
        self._current = ""
        self._used = False
        self.known = trio.Event()
        """It is settled whether there is an earlier one to bring back."""
        self.send: Callable[[wire.Conversation], None] = lambda _conversation: None

    @property
    def earlier(self) -> str:
        """The conversation that the next run of the agent is to bring back; empty: none."""
        return self._current if self._used else ""

    def __call__(self, registered: wire.Registered | None, why: ProxyError | None) -> None:
        if registered is not None:
            self._attached(registered.conversation or "")
        self._beside(registered, why)

    def _attached(self, kept: str) -> None:
        if not self.known.is_set():
            self._current = kept or self._old.last()
            self._used = bool(self._current)
            self.known.set()
        elif self._used and kept != self._current:
            self._report("open")
        if kept:
            self._old.forget()

    def none_earlier(self) -> None:
        """The session is a new one."""
        self.known.set()

    def began(self, conversation_id: str, begun: SessionBegun) -> None:
        """The agent runs again, in this conversation."""
        if begun.why_not is not None:
            self._report("lost", why=begun.why_not)
        if not begun.restored:
            self._current, self._used = conversation_id, False
            return
        self._report("restored")

    def resumed(self, conversation_id: str) -> None:
        self._current, self._used = conversation_id, True
        self._report("open")

    def used(self, text: str) -> None:
        """A prompt is given in it. The first one is its title, until the agent has a better one."""
        words = text.split()
        if words[1:] and words[0].startswith("@"):
            del words[0]  # of the bot, in a group
        title = None if self._used else " ".join(words)
        self._used = True
        self._report("open", title=title)

    def titled(self, title: str) -> None:
        if self._used:
            self._report("open", title=title)

    def _report(
        self, state: ConversationState, *, title: str | None = None, why: str | None = None
    ) -> None:
        self.send(
            wire.Conversation(
                id=self._current,
                state=state,
                title=title[:TITLE_CHARACTERS_MAX] if title else None,
                why=why,
            )
        )


class _KeptConversation(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    cwd: str
    command: tuple[str, ...]
    conversation_id: str


class OldRecord:
    """The file in which a proxy kept its conversation itself, before the daemon did.

    It is read until the daemon is seen to have the conversation, then removed.
    """

    def __init__(self, settings: ProxySettings, cwd: str, command: tuple[str, ...]) -> None:
        self._of = (settings.session_id, cwd, command)
        name = hashlib.sha256(settings.session_id.encode()).hexdigest()[:32]
        state_dir = settings.state_dir
        self._path = None if state_dir is None else state_dir / "conversations" / f"{name}.json"

    def last(self) -> str:
        """Return the id of the last conversation of this agent in this directory, or none."""
        if self._path is None:
            return ""
        try:
            with self._path.open("rb") as file:
                found = msgspec.json.decode(file.read(FILE_BYTES_MAX), type=_KeptConversation)
        except (OSError, msgspec.DecodeError, UnicodeError):
            return ""
        of = (found.session_id, found.cwd, found.command)
        return found.conversation_id if of == self._of else ""

    def forget(self) -> None:
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
                self._path.parent.rmdir()
