"""Which conversation the agent of a link is in, and those it can go back to.

The session reports its conversation, and ownership keeps it. That it was brought back, or
could not be, is for the person who was there last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from actors.kit.mailbox import Reply
from actors.messages import link, ownership
from protocol.agents.acp_sessions import CANNOT_RESUME
from protocol.ids import SessionId
from protocol.strings import Text, about_agents
from protocol.wire import messages as wire
from protocol.wire import vocabulary

ASKED_AT_ONCE_MAX: Final = 16
NOTICES_AT_ONCE_MAX: Final = 4
"""An agent that keeps ending reports that with each start; more are not sent."""
TITLE_CHARACTERS_MAX: Final = 80
WHY_CHARACTERS_MAX: Final = 300

Notify = Callable[[SessionId, Text], Awaitable[None]]
"""``notify(session_id, text)``: to where the session was given its last message."""


async def notify_nobody(_session_id: SessionId, _text: Text) -> None:
    await trio.lowlevel.checkpoint()


class LinkConversations:
    """The conversations of one link's agent."""

    def __init__(
        self,
        ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage],
        send: Callable[[wire.FromDaemon], None],
        notify: Notify,
    ) -> None:
        self._ownership_tx = ownership_tx
        self._send = send
        self._notify = notify
        self._session_id: SessionId | None = None
        self._alias = ""
        self._notices = trio.CapacityLimiter(NOTICES_AT_ONCE_MAX)
        self._asked: dict[int, Reply[wire.Resumed]] = {}
        self._numbers = 0

    def admitted(self, register: wire.Register, alias: str) -> None:
        if vocabulary.CAPABILITY_CONVERSATIONS in register.capabilities:
            self._session_id = SessionId(register.session_id)
            self._alias = alias

    async def take(self, message: wire.Conversation | wire.Resumed, nursery: trio.Nursery) -> None:
        """Take what the session reports, or answers."""
        if isinstance(message, wire.Resumed):
            asked = self._asked.pop(message.n, None)
            if asked is not None:
                asked.send(message)
        elif self._session_id is not None:
            await self._ownership_tx.send(
                ownership.ConversationReported(
                    session_id=self._session_id,
                    conversation=message.id,
                    title=_kept(message.title),
                    lost=message.state == "lost",
                )
            )
            text = notice(message, self._alias)
            if text is not None and self._notices.available_tokens:
                nursery.start_soon(self._send_notice, self._session_id, text)

    def ask(self, wish: link.ResumeConversation) -> None:
        """Pass on what somebody asks; the session answers, or the asker waits no longer."""
        self._asked = {n: one for n, one in self._asked.items() if not one.abandoned}
        if self._session_id is None:
            wish.reply.send(wire.Resumed(n=0, ok=False, error=CANNOT_RESUME))
            return
        if len(self._asked) >= ASKED_AT_ONCE_MAX:
            wish.reply.close()
            return
        self._numbers += 1
        self._asked[self._numbers] = wish.reply
        self._send(wire.Resume(n=self._numbers, conversation=wish.conversation))

    def close(self) -> None:
        """The link is over: who waits is notified."""
        for reply in self._asked.values():
            reply.close()

    async def _send_notice(self, session_id: SessionId, text: Text) -> None:
        async with self._notices:
            await self._notify(session_id, text)


def notice(message: wire.Conversation, alias: str) -> Text | None:
    """Return what the person is sent; None: nothing happened to the conversation."""
    match message.state:
        case "restored":
            return about_agents.CONVERSATION_RESTORED.format(alias=alias)
        case "lost":
            why = (message.why or "?")[:WHY_CHARACTERS_MAX]
            return about_agents.CONVERSATION_LOST.format(alias=alias, reason=why)
    return None


def _kept(title: str | None) -> str | None:
    return title[:TITLE_CHARACTERS_MAX].replace("\0", "") if title else None
