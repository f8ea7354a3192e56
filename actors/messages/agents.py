"""What the actor that runs agents accepts: to start one, and to end it."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from protocol.agents import starting
from protocol.ids import AccountId, OpenId, SessionId
from protocol.strings import Text

START_WITHIN_S: Final = starting.WITHIN_S + 10.0
"""What the agent has, and its session's registration."""


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """Its session is registered, and its agent is ready."""

    session_id: SessionId
    agent: str
    alias: str
    cwd: str


class NotStarted(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was started, or ended; *why* is for who asked."""

    why: Text


class StartAgent(Message, frozen=True, kw_only=True):
    """Start a configured agent by its name; alias and directory may be chosen.

    Answered when it is ready or has failed, :data:`START_WITHIN_S` later at most.

    One that was started for this *key* already, and runs, is the answer.
    """

    key: str
    agent: str
    alias: str | None
    cwd: str | None
    by: OpenId
    """Who asks: each person may have a few at a time."""
    topic_of: AccountId | None = None
    """Whose topic it is for: those count per account, not per person."""
    reply: Reply[Started | NotStarted]


class FindProgress(Message, frozen=True, kw_only=True):
    """Ask for the last line that an agent wrote which is being started; empty: none."""

    key: str
    reply: Reply[str]


class EndAgent(Message, frozen=True, kw_only=True):
    """End an agent that was started here. Answers whether there was one."""

    session_id: SessionId
    reply: Reply[bool]


AgentsMessage = StartAgent | FindProgress | EndAgent
