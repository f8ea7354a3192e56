"""Presses on cards: each is answered at once, and its row closed or made an answer.

The answer to a question is the press's own row: it is committed already, and becomes ready
for the session that asked in the transaction that closes the question. So an answer can't
be lost between the two, and can't be given twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import structlog
import trio

from actors.intake.choosing import Choosing
from actors.intake.peers import ASK_WITHIN_S, Peers
from actors.intake.rows import close_row
from actors.intake.stop import Stopper, toast
from actors.kit.mailbox import Reply
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway, intake, journal, ownership
from protocol.cards import choice_card
from protocol.cards import question as asking
from protocol.errors import RemoteProtocolError
from protocol.ids import MessageId, RowId
from protocol.platform.events import CardAction, decode_card_action
from protocol.platform.outcomes import NoAnswer, RateLimited, again_after_s
from protocol.routing import access
from protocol.routing.delivery import Prompt, RowState, StoredEvent
from protocol.strings import on_card

LEDGER_WITHIN_S: Final = 4.0
_CLOSE_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.5, max_s=15.0), within_s=300.0
)
"""Then the ledger keeps the card for the next start."""

log = structlog.get_logger()


class _Given(msgspec.Struct, frozen=True):
    """An answer to an open question, as it is to be stored."""

    row_id: RowId
    asked: journal.OpenQuestion
    prompt: Prompt
    last_card: str


class Presses:
    """Answers presses, each in a task of its own."""

    def __init__(
        self,
        peers: Peers,
        stopper: Stopper,
        policy: Callable[[], access.Policy],
        nursery: trio.Nursery,
        now_ms: Callable[[], int],
    ) -> None:
        self._to = peers
        self._stopper = stopper
        self._choosing = Choosing(peers, stopper)
        self._policy = policy
        self._nursery = nursery
        self._now_ms = now_ms

    async def press(self, message: intake.PressArrived) -> None:
        """Answer one press. Its row is closed, unless it went to a session as an answer."""
        event = message.event
        with message.reply:
            is_answer = await self._act(event, message.reply)
        if not is_answer:
            await close_row(
                self._to.journal_tx,
                event.row_id,
                RowState.COMMAND,
                "card action",
                self._now_ms(),
            )

    async def _act(self, event: StoredEvent, reply: Reply[intake.Toast | None]) -> bool:
        """Do what the press asks for; return whether its row is an answer now, or may be."""
        try:
            action = decode_card_action(event.payload)
        except RemoteProtocolError as unreadable:
            log.warning("feishu.event.unreadable", event_id=event.event_id, reason=str(unreadable))
            reply.send(None)
            return False
        chosen = choice_card.read_press(action)
        if chosen is not None:
            await self._choosing.press(chosen, action.message_id, reply)
            return False
        question_id = asking.question_of(action.value)
        if question_id is None:
            reply.send(await self._stopper.press(action))
            return False
        given = await self._read(event, action, question_id)
        if isinstance(given, intake.Toast):
            reply.send(given)
            return False
        shown, is_answer = await self._store(given)
        reply.send(shown)
        return is_answer

    async def _read(
        self, event: StoredEvent, action: CardAction, question_id: str
    ) -> _Given | intake.Toast:
        """Return the answer to a question, or what the person sees who may not give it so."""
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
        answers = asking.read_answers(asked.questions, action.form_value)
        if answers is None:
            return toast("warning", on_card.QUESTION_EMPTY)
        prompt = Prompt(
            kind=asking.ANSWER,
            chat_id=asked.chat_id,
            message_id=action.message_id,
            sender_id=action.operator_id,
            chat_type=asked.chat_type,
            content=asking.content(asked.questions, answers),
            by_admin=self._stopper.is_admin(action.operator_id),
            create_time_ms=event.received_at_ms,
            thread_id=asked.topic,
            topic=asked.topic,
            details={"answers": asked.question_id},
        )
        last_card = asking.answered_card(asked.questions, answers, action.operator_id)
        return _Given(event.row_id, asked, prompt, last_card)

    async def _store(self, given: _Given) -> tuple[intake.Toast, bool]:
        """Close the question; return what the person sees, and whether the row may be stored."""
        done: journal.Done | journal.Failed = await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.AnswerQuestion(
                question_id=given.asked.question_id,
                row_id=given.row_id,
                session_id=given.asked.session_id,
                prompt=given.prompt,
                card_id=given.prompt.message_id,
                last_card=given.last_card,
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
                place=self._to.place(given.prompt),
                dispatched_to=given.asked.session_id,
            )
        )
        if isinstance(done, journal.Failed):
            log.error("question.answer_not_stored", reason=done.reason)
            return toast("error", on_card.QUESTION_NOT_STORED), True
        log.info("question.answered", question=given.asked.question_id, by=given.prompt.sender_id)
        self._nursery.start_soon(self._close_card, given.prompt.message_id, given.last_card)
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
