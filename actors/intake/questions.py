"""Presses on cards with questions.

The answer to a question is the press's own row: it is committed already, and becomes ready for
the session that asked in the transaction that closes the question. So an answer can't be lost
between the two, and can't be given twice.

What an agent elicited, it waits for in the middle of its turn. The answer is offered to it
first, and the row closed once it has it; an agent that waits no more (it has ended, or the
daemon has in the meantime) is given the row as a message, as after ``ask``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec
import structlog
import trio

from actors.intake.peers import ASK_WITHIN_S, Peers
from actors.intake.stop import Stopper, toast
from actors.kit.mailbox import Reply, ask_or
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway, intake, journal, ownership
from protocol.cards import question as asking
from protocol.cards import question_card
from protocol.cards.question import Answered, Elicitation
from protocol.ids import MessageId, RowId
from protocol.platform.events import CardAction
from protocol.platform.outcomes import NoAnswer, RateLimited, again_after_s
from protocol.routing import access
from protocol.routing.delivery import Prompt, StoredEvent
from protocol.strings import Text, on_card
from protocol.wire import messages as wire
from protocol.wire.vocabulary import GivenAnswer

PASS_WITHIN_S: Final = 0.8
"""For the proxy to answer whether its agent still waits; the platform gives a press 3 s."""
LEDGER_WITHIN_S: Final = 4.0
_CLOSE_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.5, max_s=15.0), within_s=300.0
)
"""Then the ledger keeps the card for the next start."""

log = structlog.get_logger()


class _Given(msgspec.Struct, frozen=True):
    """A press on an open question, by one who may answer it."""

    row_id: RowId
    asked: journal.OpenQuestion
    card_id: MessageId
    action: CardAction
    at_ms: int


class Questions:
    """Takes what is pressed on cards with questions."""

    def __init__(
        self,
        peers: Peers,
        stopper: Stopper,
        policy: Callable[[], access.Policy],
        nursery: trio.Nursery,
    ) -> None:
        self._to = peers
        self._stopper = stopper
        self._policy = policy
        self._nursery = nursery
        self._in_hand: set[str] = set()
        """Questions of which a press is being answered: another one comes too late."""

    async def press(
        self,
        event: StoredEvent,
        action: CardAction,
        question_id: str,
        reply: Reply[intake.Toast | None],
    ) -> bool:
        """Answer a press; return whether its row is an answer now, or may be."""
        # No checkpoint from the look to the mark.
        if question_id in self._in_hand:
            reply.send(toast("info", on_card.QUESTION_CLOSED))
            return False
        self._in_hand.add(question_id)
        try:
            given = await self._read(event, action, question_id)
            if isinstance(given, intake.Toast):
                reply.send(given)
                return False
            shown, is_answer = await self._answer(given)
            reply.send(shown)
            return is_answer
        finally:
            self._in_hand.discard(question_id)

    async def _read(
        self, event: StoredEvent, action: CardAction, question_id: str
    ) -> _Given | intake.Toast:
        """Return the press, or what the person sees who may not answer."""
        asked: journal.OpenQuestion | journal.Failed | None = await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.FindQuestion(question_id=question_id, reply=reply),
            within_s=ASK_WITHIN_S,
        )
        match asked:
            case journal.Failed():
                return toast("error", on_card.QUESTION_NOT_STORED)
            case None:
                return toast("info", on_card.QUESTION_CLOSED)
        if (
            action.chat_id != asked.chat_id
            or event.account != asked.account
            or action.message_id is None
        ):
            return toast("warning", on_card.TOAST_UNKNOWN)
        admitted = access.admitted_in(self._policy(), action.operator_id, asked.chat_id)
        if asked.chat_type not in admitted:
            log.warning("question.answer_refused", question=question_id, by=action.operator_id)
            return toast("warning", on_card.QUESTION_NOT_FOR_YOU)
        return _Given(event.row_id, asked, action.message_id, action, event.received_at_ms)

    async def _answer(self, given: _Given) -> tuple[intake.Toast, bool]:
        """Return what the person sees, and whether the row may be an answer."""
        pressed = question_card.action_of(given.action.value)
        elicited = given.asked.elicited
        if elicited is not None and pressed == question_card.DECLINE:
            return await self._closed(given, elicited, "decline", on_card.QUESTION_DECLINED)
        if elicited is not None and pressed == question_card.OPEN:
            return await self._closed(given, elicited, "accept", on_card.QUESTION_OPENED)
        if pressed is not None or (elicited is not None and elicited.url is not None):
            return toast("warning", on_card.TOAST_UNKNOWN), False
        questions = given.asked.questions
        answers = asking.read_answers(questions, given.action.form_value)
        problems = map(asking.problem, questions, answers or (Answered(),) * len(questions))
        problem = next(filter(None, problems), None)
        if problem is not None or (answers is None and elicited is None):
            return toast("warning", problem or on_card.QUESTION_EMPTY), False
        answers = answers or (Answered(),) * len(questions)
        if elicited is None:
            return await self._store(given, elicited, answers)
        match await self._pass(given, "accept", answers):
            case True:
                return await self._close(given, elicited, on_card.QUESTION_ANSWERED, answers)
            case False:
                return await self._store(given, elicited, answers)
        return toast("error", on_card.QUESTION_NOT_STORED), False

    # ── what an agent waits for ────────────────────────────────────────────

    async def _pass(
        self,
        given: _Given,
        action: Literal["accept", "decline"],
        answers: tuple[Answered, ...] = (),
    ) -> bool | None:
        """Offer the answer to the agent; return whether it waited for it, and has it now.

        None: nobody knows. The person tries again, and the proxy takes it once.
        """
        nobody_knows: wire.AnswerTaken | None = None
        taken: wire.AnswerTaken | None = await ask_or(
            self._to.ownership_tx,
            lambda reply: ownership.PassAnswer(
                session_id=given.asked.session_id,
                question_id=given.asked.question_id,
                action=action,
                answers=tuple(GivenAnswer(labels=one.labels, text=one.text) for one in answers),
                reply=reply,
            ),
            within_s=PASS_WITHIN_S,
            otherwise=lambda _reason: nobody_knows,
        )
        return None if taken is None else taken.ok

    async def _closed(
        self,
        given: _Given,
        elicited: Elicitation,
        action: Literal["accept", "decline"],
        verdict: Text,
    ) -> tuple[intake.Toast, bool]:
        """Pass on what is no message to a session that waits for it no more."""
        if await self._pass(given, action) is None:
            return toast("error", on_card.QUESTION_NOT_STORED), False
        return await self._close(given, elicited, verdict)

    async def _close(
        self,
        given: _Given,
        elicited: Elicitation,
        verdict: Text,
        answers: tuple[Answered, ...] = (),
    ) -> tuple[intake.Toast, bool]:
        by = given.action.operator_id
        last_card = question_card.closed_card(elicited, verdict, answers, by)
        done: journal.QuestionClosed | journal.Failed = await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.CloseQuestion(
                question_id=given.asked.question_id,
                card_id=given.card_id,
                last_card=last_card,
                reply=reply,
            ),
            within_s=ASK_WITHIN_S,
        )
        if isinstance(done, journal.Failed):
            # Its agent has it all the same; the next press finds that out.
            log.error("question.not_closed", reason=done.reason)
        log.info("question.decided", question=given.asked.question_id, by=by, as_=verdict.en)
        self._nursery.start_soon(self._close_card, given.card_id, last_card)
        return toast("success", verdict), False

    # ── an answer that is a message ────────────────────────────────────────

    async def _store(
        self, given: _Given, elicited: Elicitation | None, answers: tuple[Answered, ...]
    ) -> tuple[intake.Toast, bool]:
        """Close the question with the press's row, which becomes a message to who asked."""
        asked, by = given.asked, given.action.operator_id
        elicited = elicited or Elicitation(questions=asked.questions)
        prompt = Prompt(
            kind=asking.ANSWER,
            chat_id=asked.chat_id,
            message_id=given.card_id,
            sender_id=by,
            chat_type=asked.chat_type,
            content=asking.content(elicited, answers),
            by_admin=self._stopper.is_admin(by),
            create_time_ms=given.at_ms,
            thread_id=asked.topic,
            topic=asked.topic,
            details={"answers": asked.question_id},
        )
        last_card = question_card.closed_card(elicited, on_card.QUESTION_ANSWERED, answers, by)
        done: journal.Done | journal.Failed = await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.AnswerQuestion(
                question_id=asked.question_id,
                row_id=given.row_id,
                session_id=asked.session_id,
                prompt=prompt,
                card_id=given.card_id,
                last_card=last_card,
                reply=reply,
            ),
            within_s=ASK_WITHIN_S,
        )
        if isinstance(done, journal.Done) and not done.changed:
            return toast("info", on_card.QUESTION_CLOSED), False
        # After a failure it may have been stored all the same: the row is left as it is,
        # and whoever it may be for looks.
        await self._to.ownership_tx.send(
            ownership.RowReady(
                row_id=given.row_id,
                place=self._to.place(prompt),
                dispatched_to=asked.session_id,
            )
        )
        if isinstance(done, journal.Failed):
            log.error("question.answer_not_stored", reason=done.reason)
            return toast("error", on_card.QUESTION_NOT_STORED), True
        log.info("question.answered", question=asked.question_id, by=by)
        self._nursery.start_soon(self._close_card, given.card_id, last_card)
        return toast("success", on_card.QUESTION_ANSWERED), True

    async def _close_card(self, card_id: MessageId, last_card: str) -> None:
        """Show what was chosen, and take the card out of the ledger once that is there."""
        operation = gateway.PatchMessage(message_id=card_id, content_json=last_card)
        outcome = await while_it_helps(
            lambda: self._to.call(operation, gateway.Priority.FINAL), _CLOSE_TRIES
        )
        if isinstance(outcome, NoAnswer | RateLimited):
            log.warning("question.card_left_open", message=card_id)
            return
        await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.ForgetApproval(entry_id=card_id, reply=reply),
            within_s=LEDGER_WITHIN_S,
        )
