"""What the journal accepts about questions that sessions asked and nobody answered yet."""

from __future__ import annotations

import msgspec

from actors.kit.mailbox import Reply
from actors.messages.base import Message
from actors.messages.journal.answers import Done, Failed
from protocol.cards.question import Elicitation, Question
from protocol.ids import AccountId, ChatId, ChatType, MessageId, RowId, SessionId
from protocol.routing.delivery import Prompt


class OpenQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """One call of ``ask``: it is open until it is answered, or too old to be."""

    question_id: str
    session_id: SessionId
    """Who asked, and gets the answer, whatever its chat is bound to by then."""
    account: AccountId
    chat_id: ChatId
    chat_type: ChatType
    questions: tuple[Question, ...]
    asked_at_ms: int
    topic: str | None = None
    """Of its card, where that is a place of its own."""
    elicited: Elicitation | None = None
    """What its agent waits for; None: a call of ``ask``, which waits for nothing."""
    card_id: MessageId | None = None
    """Of what was elicited, once its card is out."""


class EnterQuestion(Message, frozen=True, kw_only=True):
    """Store a question before its card is sent; those asked before a moment are forgotten.

    Not ``changed``: the session has *open_max* of them open, or there is one of that id.
    """

    question: OpenQuestion
    forget_before_ms: int
    open_max: int
    reply: Reply[Done | Failed]


class ForgetQuestion(Message, frozen=True, kw_only=True):
    question_id: str
    reply: Reply[Done | Failed]


class NoteQuestionCard(Message, frozen=True, kw_only=True):
    """Note the card of a question. Not ``changed``: the question was withdrawn meanwhile."""

    question_id: str
    card_id: MessageId
    reply: Reply[Done | Failed]


class QuestionClosed(Done, frozen=True, kw_only=True):
    """``card_id``: the card that was open, known or noted; None where none was noted yet."""

    card_id: MessageId | None = None


class CloseQuestion(Message, frozen=True, kw_only=True):
    """Close a question that is no message to anybody: its agent has the answer, or wants none.

    The card's last state goes into the ledger of cards to close. Not ``changed``: it is open
    no more.
    """

    question_id: str
    card_id: MessageId | None
    last_card: str
    reply: Reply[QuestionClosed | Failed]


class FindQuestion(Message, frozen=True, kw_only=True):
    """Ask for a question; None where it is open no more."""

    question_id: str
    reply: Reply[OpenQuestion | Failed | None]


class AnswerQuestion(Message, frozen=True, kw_only=True):
    """Close a question with a press, all at once or not at all.

    The press's row becomes ready for who asked, as a message about the card, and the card's
    last state goes into the ledger of cards to close. Not ``changed``: it was answered before.
    """

    question_id: str
    row_id: RowId
    session_id: SessionId
    prompt: Prompt
    card_id: MessageId
    last_card: str
    reply: Reply[Done | Failed]
