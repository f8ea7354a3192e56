"""Questions that are open: asked once, their card noted, closed once whoever does it."""

from __future__ import annotations

import msgspec

from actors.messages import journal
from protocol.cards.question import Elicitation, Question
from protocol.ids import ChatId, MessageId, SessionId
from tests.actors.journal.client import ACCOUNT, NOBODY, JournalClient

QUESTION = journal.OpenQuestion(
    question_id="q_1",
    session_id=SessionId("s"),
    account=ACCOUNT,
    chat_id=ChatId("oc_1"),
    chat_type="p2p",
    questions=(Question(question="Why?"),),
    asked_at_ms=1_000,
    elicited=Elicitation(message="Please answer", questions=(Question(question="Why?"),)),
)
CARD = MessageId("om_card")


def enter(client: JournalClient, question: journal.OpenQuestion = QUESTION) -> bool:
    return changed(
        client,
        journal.EnterQuestion(question=question, forget_before_ms=0, open_max=2, reply=NOBODY),
    )


def changed(client: JournalClient, message: journal.JournalMessage) -> bool:
    done: journal.Done = client.ask(message)
    return done.changed


def found(client: JournalClient) -> journal.OpenQuestion | None:
    asked = journal.FindQuestion(question_id="q_1", reply=NOBODY)
    answer: journal.OpenQuestion | None = client.ask(asked)
    return answer


def close(client: JournalClient, card_id: MessageId | None = None) -> bool:
    message = journal.CloseQuestion(
        question_id="q_1", card_id=card_id, last_card="{}", reply=NOBODY
    )
    return changed(client, message)


def note(client: JournalClient) -> bool:
    return changed(client, journal.NoteQuestionCard(question_id="q_1", card_id=CARD, reply=NOBODY))


def test_a_question_is_closed_once_and_its_card_kept_until_it_shows_that(
    client: JournalClient,
) -> None:
    assert enter(client)
    assert note(client)
    assert found(client) == msgspec.structs.replace(QUESTION, card_id=CARD)
    assert close(client)
    assert found(client) is None
    assert not close(client)
    (left,) = client.approvals_left()
    assert (left.message_id, left.account, left.last_card) == (CARD, ACCOUNT, "{}")


def test_who_closes_a_question_is_given_the_card_that_was_noted_meanwhile(
    client: JournalClient,
) -> None:
    assert enter(client)
    assert note(client)
    message = journal.CloseQuestion(question_id="q_1", card_id=None, last_card="{}", reply=NOBODY)
    assert client.ask(message) == journal.QuestionClosed(card_id=CARD)
    assert client.ask(message) == journal.QuestionClosed(changed=False)


def test_one_that_is_withdrawn_before_its_card_is_out_leaves_no_card(
    client: JournalClient,
) -> None:
    assert enter(client)
    assert close(client)
    assert not note(client)
    assert client.approvals_left() == ()


def test_a_session_has_so_many_open_and_each_id_once(client: JournalClient) -> None:
    assert enter(client)
    assert not enter(client)
    assert enter(client, msgspec.structs.replace(QUESTION, question_id="q_2"))
    assert not enter(client, msgspec.structs.replace(QUESTION, question_id="q_3"))
    other = msgspec.structs.replace(QUESTION, question_id="q_4", session_id=SessionId("t"))
    assert enter(client, other)
