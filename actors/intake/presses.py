"""Presses on cards: each is answered at once, and its row closed or made an answer.

The answer to a question is the press's own row: it is committed already, and becomes ready
for the session that asked in the transaction that closes the question. So an answer can't
be lost between the two, and can't be given twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

from actors.intake.choosing import Choosing
from actors.intake.peers import ASK_WITHIN_S, Peers, call
from actors.intake.rows import close_row
from actors.intake.stop import Stopper
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
from protocol.strings import Text, on_card

LEDGER_WITHIN_S: Final = 4.0
_CLOSE_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.5, max_s=15.0), within_s=300.0
)
"""Then the ledger keeps the card for the next start."""

log = structlog.get_logger()


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
            try:
                action = decode_card_action(event.payload)
            except RemoteProtocolError as unreadable:
                log.warning(
                    "feishu.event.unreadable", event_id=event.event_id, reason=str(unreadable)
                )
                message.reply.send(None)
                closes = True
            else:
                chosen = choice_card.read_press(action)
                question_id = asking.question_of(action.value)
                if chosen is not None:
                    await self._choosing.press(chosen, action.message_id, message.reply)
                    closes = True
                elif question_id is None:
                    message.reply.send(await self._stopper.press(action))
                    closes = True
                else:
                    toast, closes = await self._answer(event, action, question_id)
                    message.reply.send(intake.Toast(kind=toast[0], en=toast[1].en, zh=toast[1].zh))
        if closes:
            await close_row(
                self._to.journal_tx,
                event.row_id,
                RowState.COMMAND,
                "card action",
                self._now_ms(),
            )

    async def _answer(
        self, event: StoredEvent, action: CardAction, question_id: str
    ) -> tuple[tuple[str, Text], bool]:
        """Take the answer; return what the person sees, and whether the row is to be closed."""
        found: journal.OpenQuestion | journal.Failed | None = await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.FindQuestion(question_id=question_id, reply=reply),
            within_s=ASK_WITHIN_S,
        )
        match found:
            case journal.Failed():
                return ("error", on_card.QUESTION_NOT_STORED), True
            case None:
                return ("info", on_card.QUESTION_CLOSED), True
        if (
            action.chat_id != found.chat_id
            or event.account != found.account
            or action.message_id is None
        ):
            return ("warning", on_card.TOAST_UNKNOWN), True
        admitted = access.admitted_in(self._policy(), action.operator_id, found.chat_id)
        if found.chat_type not in admitted:
            log.warning("question.answer_refused", question=question_id, by=action.operator_id)
            return ("warning", on_card.QUESTION_NOT_FOR_YOU), True
        answers = asking.read_answers(found.questions, action.form_value)
        if answers is None:
            return ("warning", on_card.QUESTION_EMPTY), True
        prompt = Prompt(
            kind=asking.ANSWER,
            chat_id=found.chat_id,
            message_id=action.message_id,
            sender_id=action.operator_id,
            chat_type=found.chat_type,
            content=asking.content(found.questions, answers),
            by_admin=self._stopper.is_admin(action.operator_id),
            create_time_ms=event.received_at_ms,
            thread_id=found.topic,
            topic=found.topic,
            details={"answers": found.question_id},
        )
        last_card = asking.answered_card(found.questions, answers, action.operator_id)
        return await self._store(event.row_id, found, prompt, last_card)

    async def _store(
        self, row_id: RowId, asked: journal.OpenQuestion, prompt: Prompt, last_card: str
    ) -> tuple[tuple[str, Text], bool]:
        done: journal.Done | journal.Failed = await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.AnswerQuestion(
                question_id=asked.question_id,
                row_id=row_id,
                session_id=asked.session_id,
                prompt=prompt,
                card_id=prompt.message_id,
                last_card=last_card,
                reply=reply,
            ),
            within_s=ASK_WITHIN_S,
        )
        if isinstance(done, journal.Done) and not done.changed:
            return ("info", on_card.QUESTION_CLOSED), True
        # After a failure it may have been stored all the same: the row is left as it is,
        # and whoever it may be for looks.
        await self._to.ownership_tx.send(
            ownership.RowReady(
                row_id=row_id,
                place=self._to.place(prompt),
                dispatched_to=asked.session_id,
            )
        )
        if isinstance(done, journal.Failed):
            log.error("question.answer_not_stored", reason=done.reason)
            return ("error", on_card.QUESTION_NOT_STORED), False
        log.info("question.answered", question=asked.question_id, by=prompt.sender_id)
        self._nursery.start_soon(self._close_card, prompt.message_id, last_card)
        return ("success", on_card.QUESTION_ANSWERED), False

    async def _close_card(self, card_id: MessageId, last_card: str) -> None:
        """Show what was chosen, and take the card out of the ledger once that is there."""
        operation = gateway.PatchMessage(message_id=card_id, content_json=last_card)
        outcome = await while_it_helps(
            lambda: call(self._to.gateway_tx, operation, gateway.Priority.FINAL), _CLOSE_TRIES
        )
        if isinstance(outcome, NoAnswer | RateLimited):
            log.warning("question.card_left_open", message=card_id)
            return
        await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.ForgetApproval(entry_id=card_id, reply=reply),
            within_s=LEDGER_WITHIN_S,
        )
