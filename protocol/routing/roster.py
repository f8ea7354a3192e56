"""The sessions people know by name: those that are here, and those that were.

What a chat is shown of them, and how a word typed there finds one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from msgspec import Struct

from protocol.ids import AccountId, OpenId, PlaceKey, SessionId
from protocol.quoted import quoted
from protocol.routing.command import Ambiguous, Matched, NoMatch, match_alias
from protocol.strings import Text, in_chat
from protocol.wire.vocabulary import Role

ReplyMode = Literal["stream", "final", "verbose"]
REPLY_MODES: Final[tuple[ReplyMode, ...]] = ("stream", "final", "verbose")

REMEMBERED_MAX: Final = 100
REMEMBERED_MS: Final = 30 * 24 * 60 * 60 * 1_000
"""A session that was away for longer, or after more than so many others, is forgotten."""
_UNKNOWN: Final = "?"


class StartedAgent(Struct, frozen=True, kw_only=True):
    """How an agent was started from a chat: what brings it back with the daemon."""

    agent: str
    """Its name in the configuration."""
    alias: str
    cwd: str
    by: OpenId
    topic_of: AccountId | None = None
    """Of one that was started for a topic: the account."""


class KnownSession(Struct, frozen=True, kw_only=True):
    """What is remembered of a session when it is gone."""

    session_id: SessionId
    alias: str
    agent: str = ""
    cwd: str = ""
    reply_mode: ReplyMode | None = None
    """None: as configured for all."""
    seen_at_ms: int = 0
    role: Role | None = None
    """The role its id was first registered under; the id belongs to it. None: none yet."""
    choices: Mapping[str, str] = {}
    """Option → choice of its agent, as people chose; chosen again after it came back."""
    started: StartedAgent | None = None
    """Of an agent that was started from a chat, until it is closed."""
    conversation: str | None = None
    """Of its agent: brought back when the agent, or the session, runs again."""


class Roster(Struct, frozen=True, kw_only=True):
    """What the journal keeps: the sessions, the latest seen first, and what is unread."""

    sessions: tuple[KnownSession, ...] = ()
    unread: frozenset[tuple[SessionId, PlaceKey]] = frozenset()


class SessionView(Struct, frozen=True, kw_only=True):
    """A session as one chat sees it."""

    session: KnownSession
    live: bool
    takes_turns: bool = False
    busy: bool = False
    """A turn of it is in flight, whatever chat it is of."""
    has_own_turn: bool = False
    """A turn that nobody asked for is open; it holds up no prompt."""
    asks: bool = False
    """It asks for its next row, which may leave the queue now."""
    marked: bool = False
    """It has background work of this chat, running or unread."""


def reply_mode(word: str | None) -> ReplyMode | None:
    """Return the mode that *word* names, or None."""
    return next((mode for mode in REPLY_MODES if mode == word), None)


def remembered(metadata: Mapping[str, str]) -> tuple[str, str]:
    """Return agent and working directory, as the session stated them."""
    return metadata.get("agent", ""), metadata.get("cwd", "")


def forgotten(
    sessions: Iterable[KnownSession], live: Iterable[SessionId], now_ms: int
) -> list[SessionId]:
    """Return which sessions need not be remembered any longer; live ones always are."""
    here = frozenset(live)
    away = sorted(
        (one for one in sessions if one.session_id not in here),
        key=lambda one: one.seen_at_ms,
        reverse=True,
    )
    return [
        one.session_id
        for at, one in enumerate(away)
        if at >= REMEMBERED_MAX or now_ms - one.seen_at_ms > REMEMBERED_MS
    ]


def visible(shown: Iterable[SessionView]) -> list[SessionView]:
    """Leave out who can't be addressed: a session away whose alias a live one has now."""
    listed: dict[str, SessionView] = {}
    for one in sorted(shown, key=lambda one: not one.live):  # a stable sort
        listed.setdefault(one.session.alias, one)
    return list(listed.values())


def listing(shown: Iterable[SessionView], current: SessionId | None) -> Text:
    """Return the answer to ``/sessions``."""
    lines = in_chat.SESSIONS
    listed = visible(shown)
    for one in listed:
        session = one.session
        mark = "● " if one.marked else ""
        place = f"{quoted(session.agent or _UNKNOWN)} @ {quoted(session.cwd or _UNKNOWN)}"
        lines = lines.plus(f"\n- {mark}{quoted(session.alias)} ({place})")
        if not one.live:
            lines = lines.joined(in_chat.SESSION_OFFLINE)
        if session.session_id == current:
            lines = lines.joined(in_chat.SESSION_CURRENT)
    return lines if listed else in_chat.NO_SESSIONS


def find(query: str, shown: Iterable[SessionView]) -> SessionView | Text:
    """Return the session *query* means, or what to answer where it means none or several."""
    by_alias = {one.session.alias: one for one in visible(shown)}
    match match_alias(query, by_alias):
        case Matched(alias=alias):
            return by_alias[alias]
        case Ambiguous(candidates=candidates):
            lines = "".join(f"\n• {quoted(alias)}" for alias in candidates)
            return in_chat.SESSION_AMBIGUOUS.format(query=query).plus(lines)
        case NoMatch():
            return in_chat.SESSION_UNKNOWN.format(query=query)
