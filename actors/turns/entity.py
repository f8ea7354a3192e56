"""One card entity of a turn: opened, entered into the ledger, sent, noted and closed there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec
import structlog
import trio

from actors.kit import metrics
from actors.kit.clock import next_multiple
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway, journal
from actors.turns.client import TurnClient
from actors.turns.entry import LedgerNotes
from protocol.cards.card import View
from protocol.cards.cardplan import (
    ANSWER_FIRST_S,
    ANSWER_MAX_S,
    CallName,
    CardPlan,
    Kind,
    Step,
    Wait,
)
from protocol.ids import CardId, MessageId, idempotency_key
from protocol.platform.outcomes import (
    Gone,
    MessageSent,
    MissingScope,
    NoAnswer,
    Outcome,
    Rejected,
    TooLarge,
    again_after_s,
)

_OPEN_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.25, max_s=10.0), within_s=60.0
)
CLOSE_WITHIN_S: Final = 4.0
APIS: Final[dict[CallName, gateway.Api]] = {
    "update": gateway.Api.UPDATE_CARD,
    "content": gateway.Api.ELEMENT_CONTENT,
    "batch": gateway.Api.BATCH_UPDATE,
    "patch": gateway.Api.PATCH_ELEMENT,
    "settings": gateway.Api.CARD_SETTINGS,
}
CALLS: Final = {api: call for call, api in APIS.items()}
PRIORITIES: Final = {
    Kind.FINAL: gateway.Priority.FINAL,
    Kind.STRUCTURE: gateway.Priority.STRUCTURE,
    Kind.TEXT: gateway.Priority.TEXT,
    Kind.TICK: gateway.Priority.TICK,
    Kind.REOPEN: gateway.Priority.STRUCTURE,
}
PACE_S: Final = {Kind.STRUCTURE: 0.4, Kind.TEXT: 0.2}
"""Between two calls on one card; the platform's typewriter fills the time between."""
PAUSES_TOGETHER_S: Final = 0.05
"""Pauses end at multiples of it, so that the cards of many turns go on together."""
SCOPE_AGAIN_S: Final = 10.0
"""An admin who was sent the page may have granted what was missing."""
GONE_AGAIN_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses between tries with a card that is answered to be gone: it may be there all the same."""
TOO_LARGE_AGAIN_S: Final = 0.5
TOO_LARGE_AGAIN_MAX_S: Final = 10.0
"""Between tries with a card that is refused for its size: one with less on it was, too."""

Ended = Literal["final", "gone", "live"]

STALENESS: Final = metrics.histogram(
    "larkd_card_staleness_seconds",
    "How long a card had shown its text when newer text replaced it.",
    metrics.SLOW_S,
)
CLOSED: Final = metrics.counter("larkd_cards", "Cards by their final state.", "outcome")

log = structlog.get_logger()


class CardRefused(Exception):
    """The platform takes no card for this turn.

    *sure* is whether nothing of the turn can be read on one all the same.
    """

    def __init__(
        self, reason: str, missing: MissingScope | None = None, *, sure: bool = True
    ) -> None:
        super().__init__(reason)
        self.missing = missing
        self.sure = sure


class CardEntity:
    """One card entity, and how far it got. *number* counts the turn's cards, from 0."""

    def __init__(self, client: TurnClient, number: int, card_id: CardId, view: View) -> None:
        self._client = client
        self.number = number
        self.card_id = card_id
        self.plan = CardPlan(view, trio.current_time())
        self.message_id: MessageId | None = None
        self.may_be_sent = False
        """Whether one of its calls may have sent it unseen: a later refusal proves nothing."""
        self.entry = LedgerNotes(client, card_id, self._note_closed)
        self._shown_at = trio.current_time()

    def accepted(self, step: Step) -> None:
        """The platform shows *step* now."""
        now = trio.current_time()
        self.plan.accepted(step, now)
        if step.kind is Kind.TEXT:
            STALENESS.observe(now - self._shown_at)
        self._shown_at = now

    async def send(self) -> Outcome:
        """Send the card, which is in the ledger; may be called again if it was cut.

        That it is there is noted with what it shows.
        """
        content = msgspec.json.encode({"type": "card", "data": {"card_id": self.card_id}}).decode()
        outcome: Outcome | None = None
        for way in self._client.reply("interactive", content, "card", self.number):
            outcome = await retried(self._client, way, unanswered=self._note_unanswered)
            if not isinstance(outcome, Gone):
                break
            # What it was to answer was recalled: perhaps after a copy of the call had sent it.
            self.may_be_sent = True
        assert outcome is not None
        if isinstance(outcome, MessageSent):
            self.message_id = outcome.message_id
            self.entry.sent_as(outcome.message_id)
            answers = self._client.opening.message_id
            log.info(
                "feishu.card.opened", **self.ids(), message=outcome.message_id, answers=answers
            )
        return outcome

    def _note_unanswered(self) -> None:
        self.may_be_sent = True

    async def end_as(
        self, view: View, *, within_s: float, gone_again_s: tuple[float, ...] = GONE_AGAIN_S
    ) -> Ended:
        """Bring a card to its last view that may not be seen; "live": it could not be.

        That it is gone is believed when it is answered once more after each of the pauses
        *gone_again_s*. What the card shows then, as far as that is known: ``plan.read``.
        """
        until = trio.current_time() + within_s
        gone_again, too_large_again_s = iter(gone_again_s), TOO_LARGE_AGAIN_S
        while trio.current_time() < until:
            step = self.plan.next(view, trio.current_time())
            if step is None:
                return "final"
            within_s = self.plan.answer_within_s(step, trio.current_time())
            self.plan.begin(step, trio.current_time())
            outcome = await self._client.call(
                operation_of(self.card_id, step), gateway.Priority.FINAL, answer_within_s=within_s
            )
            if not isinstance(outcome, Rejected | NoAnswer):
                self.plan.accepted(step, trio.current_time())
                continue
            verdict = self.plan.failed(step, outcome, trio.current_time())
            if isinstance(verdict, Wait):
                await trio.sleep(verdict.seconds)
            elif isinstance(outcome, MissingScope):
                await trio.sleep(SCOPE_AGAIN_S)
            elif isinstance(outcome, TooLarge):
                await trio.sleep(too_large_again_s)
                too_large_again_s = min(2 * too_large_again_s, TOO_LARGE_AGAIN_MAX_S)
            elif (pause_s := next(gone_again, None)) is not None:
                await trio.sleep(pause_s)
            else:
                return "gone"
        return "live"

    def _note_closed(self, outcome: journal.CardOutcome) -> None:
        CLOSED.labels(outcome=outcome).inc()
        log.info("feishu.card.closed", **self.ids(), outcome=outcome)

    def ids(self) -> dict[str, str]:
        return {**self._client.ids(), "card": self.card_id}


def next_call_at(kind: Kind, now: float) -> float:
    """Return when the next call on a card may be made, after one of this kind at *now*."""
    return next_multiple(now + PACE_S[kind], PAUSES_TOGETHER_S) if kind in PACE_S else now


async def retried(
    client: TurnClient,
    operation: gateway.Operation,
    permit: int | None = None,
    *,
    unanswered: Callable[[], None] = lambda: None,
) -> Outcome:
    """Make a call again while there is a chance, a minute long; it must be harmless twice.

    One that hangs is made again soon, each time after twice as long: nobody sees the card before.
    *unanswered* is called for each try that may have had its effect all the same.
    """
    permits = iter([permit])  # for the first try
    answer_within_s = ANSWER_FIRST_S

    async def call() -> Outcome:
        nonlocal answer_within_s
        outcome = await client.call(
            operation,
            gateway.Priority.CREATE,
            next(permits, None),
            answer_within_s=answer_within_s,
        )
        if isinstance(outcome, NoAnswer):
            unanswered()
            answer_within_s = min(2 * answer_within_s, ANSWER_MAX_S)
        return outcome

    return await while_it_helps(call, _OPEN_TRIES)


def operation_of(card_id: CardId, step: Step) -> gateway.Operation:
    """Return the call that makes a step. Each sequence has a uuid of its own."""
    uuid = idempotency_key(card_id, step.sequence)
    match step.call:
        case "update":
            return gateway.UpdateCard(
                card_id=card_id, card_json=step.content, sequence=step.sequence, uuid=uuid
            )
        case "settings":
            return gateway.CardSettings(
                card_id=card_id, settings_json=step.content, sequence=step.sequence, uuid=uuid
            )
        case "batch":
            return gateway.BatchUpdate(
                card_id=card_id, actions_json=step.content, sequence=step.sequence, uuid=uuid
            )
        case "patch":
            return gateway.PatchElement(
                card_id=card_id,
                element_id=step.element_id,
                partial_json=step.content,
                sequence=step.sequence,
                uuid=uuid,
            )
        case "content":
            return gateway.ElementContent(
                card_id=card_id,
                element_id=step.element_id,
                content=step.content,
                sequence=step.sequence,
                uuid=uuid,
            )
