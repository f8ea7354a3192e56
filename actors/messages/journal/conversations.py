"""What the journal accepts about the conversations of agents, which outlive their sessions."""

from __future__ import annotations

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from actors.messages.journal.answers import Done, Failed
from protocol.routing.roster import KnownSession
from protocol.wire.messages import EarlierConversation


class NoteConversation(Message, frozen=True, kw_only=True):
    """Remember a session, which is in the conversation that it names, if any, at a moment.

    *title* None: as it was.
    """

    session: KnownSession
    title: str | None
    at_ms: int
    reply: Reply[Done | Failed]


class FindConversations(Message, frozen=True, kw_only=True):
    """Ask for the conversations that an agent had in a directory, newest first."""

    agent: str
    cwd: str
    limit: int
    reply: Reply[tuple[EarlierConversation, ...] | Failed]
