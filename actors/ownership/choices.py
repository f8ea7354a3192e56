"""What agents offer to be chosen, what was chosen, and which conversation they are in.

Asked by chats, kept over restarts.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from actors.kit.mailbox import offer
from actors.messages import link, ownership
from actors.ownership.sessions import Sessions
from protocol.ids import ConnectionId
from protocol.routing import lease
from protocol.wire import messages as wire

Links = Mapping[ConnectionId, trio.MemorySendChannel[link.LinkMessage]]
ChoiceMessage = (
    ownership.OptionsOffered
    | ownership.FindOptions
    | ownership.PassChoice
    | ownership.PassAnswer
    | ownership.ChoiceMade
    | ownership.ConversationReported
    | ownership.PassResume
)


class Choices:
    """The offers of live connections. Part of the ownership actor, which alone uses it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._offers: dict[ConnectionId, wire.OptionsOffer] = {}

    async def handle(
        self, message: ChoiceMessage, state: lease.OwnershipState, links: Links
    ) -> None:
        match message:
            case ownership.OptionsOffered(connection_id=connection_id):
                self._offers = {key: one for key, one in self._offers.items() if key in links}
                if connection_id in links:
                    self._offers[connection_id] = message.offer
            case ownership.FindOptions(session_id=session_id):
                with message.reply:
                    session = state.sessions.get(session_id)
                    found = self._offers.get(session.connection_id) if session else None
                    message.reply.send(found)
            case ownership.PassChoice(session_id=session_id):
                session = state.sessions.get(session_id)
                mailbox = links.get(session.connection_id) if session else None
                wish = link.ChooseOption(
                    option=message.option, choice=message.choice, reply=message.reply
                )
                gone = message.reply.abandoned  # its asker has answered that nothing has changed
                if gone or mailbox is None or not offer(mailbox, wish):
                    message.reply.close()
            case ownership.PassAnswer(session_id=session_id):
                session = state.sessions.get(session_id)
                mailbox = links.get(session.connection_id) if session else None
                answer = link.GiveAnswer(
                    question_id=message.question_id,
                    action=message.action,
                    answers=message.answers,
                    reply=message.reply,
                )
                if mailbox is None:
                    message.reply.send(wire.AnswerTaken(n=0, ok=False))
                elif message.reply.abandoned or not offer(mailbox, answer):
                    message.reply.close()  # the person is asked to try again
            case ownership.PassResume(session_id=session_id):
                session = state.sessions.get(session_id)
                mailbox = links.get(session.connection_id) if session else None
                asked = link.ResumeConversation(
                    conversation=message.conversation, reply=message.reply
                )
                gone = message.reply.abandoned
                if gone or mailbox is None or not offer(mailbox, asked):
                    message.reply.close()
            case ownership.ConversationReported():
                await self._sessions.conversed(message)
            case ownership.ChoiceMade():
                await self._sessions.chose(message.session_id, message.option, message.choice)
