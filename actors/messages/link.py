"""What a link, the daemon's end of one proxy connection, accepts.

A link always takes its messages at once and keeps what is unsent within the contract's
bounds; past them it gives the peer up. So these can be sent without waiting.
"""

from __future__ import annotations

from typing import Literal

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from actors.messages.turn import InputSender
from protocol.ids import TurnId
from protocol.routing.delivery import Offer
from protocol.wire.messages import AnswerTaken, Cancel, Chosen, PermissionVerdict, Resumed
from protocol.wire.vocabulary import ByeReason, GivenAnswer


class Give(Message, frozen=True, kw_only=True):
    """Give the session this row. *turn* takes what the proxy sends of it.

    None for a channel session, which answers by tools.
    """

    offer: Offer
    turn_id: TurnId
    turn: InputSender | None


class LeaveLink(Message, frozen=True, kw_only=True):
    """Send ``bye`` after what is queued, then close."""

    reason: ByeReason
    retry_after_ms: int | None = None


class ChooseOption(Message, frozen=True, kw_only=True):
    """Somebody chose; the answer comes from the proxy, or not within 10 s."""

    option: str
    choice: str
    reply: Reply[Chosen]


class ResumeConversation(Message, frozen=True, kw_only=True):
    """Somebody asks for the agent's earlier conversations, or takes one up."""

    conversation: str | None
    reply: Reply[Resumed]


class GiveAnswer(Message, frozen=True, kw_only=True):
    """Somebody answered what the session's agent may wait for; the proxy knows whether it does."""

    question_id: str
    action: Literal["accept", "decline"]
    answers: tuple[GivenAnswer, ...]
    reply: Reply[AnswerTaken]


LinkMessage = (
    ChooseOption | ResumeConversation | GiveAnswer | Give | LeaveLink | Cancel | PermissionVerdict
)
"""``Cancel``: what the proxy still sends of the turn is dropped."""
