"""A turn as live cards: opened beside the work, updated in place, brought to an end.

The card is created and sent as a reply; from then on one loop asks ``cardplan`` what
the next call is, waits for its share of the rate budget, asks again, since the turn
goes on meanwhile, and makes the call. Full cards are sealed and the next one opened.
"""

from __future__ import annotations

from typing import Final

import msgspec
import structlog
import trio

from actors.messages import gateway, journal
from actors.turns.client import TurnClient
from actors.turns.static import StaticPresenter
from protocol.cards.card import View, view_running, view_sealed
from protocol.cards.cardplan import CardPlan, Kind, Lost, Shrink, Step
from protocol.cards.turn import Turn, TurnState
from protocol.ids import CardId, MessageId, idempotency_key
from protocol.platform.outcomes import (
    CardCreated,
    Gone,
    MessageSent,
    MissingScope,
    NoAnswer,
    Outcome,
    Rejected,
    again_after_s,
)

FINAL_RETRY_S: Final = 300.0
OPEN_RETRY_S: Final = 60.0
BACKOFF_FIRST_S: Final = 0.25
BACKOFF_MAX_S: Final = 10.0
NOTE_TEXT_EVERY_S: Final = 5.0
NOTE_TEXT_CHARACTERS_MAX: Final = 15_000
"""Of the text kept in the ledger: a card shows no more."""
PACE_S: Final = {Kind.STRUCTURE: 0.4, Kind.TEXT: 0.2}
"""Between two calls on one card; the platform's typewriter fills the time between."""
OVERTAKEN_AFTER_S: Final = 1.0
"""So long the turn's end waits for a call under way. The platform refuses that one, should
it still arrive after the end: its sequence is the smaller one."""
_TICKS: Final = ((60.0, 1.0), (600.0, 5.0))
_TICK_LATER_S: Final = 15.0
_PRIORITIES: Final = {
    Kind.FINAL: gateway.Priority.FINAL,
    Kind.STRUCTURE: gateway.Priority.STRUCTURE,
    Kind.TEXT: gateway.Priority.TEXT,
    Kind.TICK: gateway.Priority.TICK,
    Kind.REOPEN: gateway.Priority.STRUCTURE,
}
_APIS: Final = {
    "update": gateway.Api.UPDATE_CARD,
    "content": gateway.Api.ELEMENT_CONTENT,
    "settings": gateway.Api.CARD_SETTINGS,
}

log = structlog.get_logger()


class CardRefused(Exception):
    """The platform takes no card for this turn."""

    def __init__(self, reason: str, missing: MissingScope | None = None) -> None:
        super().__init__(reason)
        self.missing = missing


class _Entity:
    """One card entity of this turn, and how far it got."""

    def __init__(self, card_id: CardId, view: View) -> None:
        self.card_id = card_id
        self.plan = CardPlan(view, trio.current_time())
        self.entered = False
        self.message_id: MessageId | None = None
        self.noted_at = trio.current_time()
        self.closed = False


class CardPresenter:
    """Shows one turn as cards, and what no card takes as messages."""

    def __init__(self, turn: Turn, client: TurnClient) -> None:
        self._turn = turn
        self._client = client
        self._style = client.style()
        self._number = 0  # of the card that is shown, from 0
        self._entity: _Entity | None = None
        self._changed = trio.Event()
        self._turn_final = trio.Event()
        self._next_call_at = 0.0
        self._waiting_for: gateway.Priority | None = None
        self._wait_scope = trio.CancelScope()
        self._call_scope = trio.CancelScope()
        self._rest: StaticPresenter | None = None

    def notify(self) -> None:
        """Something changed: what waits with less urgency than it now has waits anew."""
        self._changed.set()
        if self._turn.state.final and not self._turn_final.is_set():
            self._turn_final.set()
            self._call_scope.deadline = trio.current_time() + OVERTAKEN_AFTER_S
        if self._rest is not None:
            self._rest.notify()
        if self._waiting_for is not None and self._urgency() < self._waiting_for:
            self._wait_scope.cancel(reason="more urgent now")

    def _urgency(self) -> gateway.Priority:
        if self._turn.state.final:
            return gateway.Priority.FINAL
        return gateway.Priority.TEXT

    async def show(self) -> None:
        """Show until the final state was accepted, on the last card.

        Raises:
            CardRefused: the first card can't be opened; nothing was shown.
        """
        while self._rest is None:
            self._changed = trio.Event()
            if self._entity is None or self._entity.message_id is None:
                await self._open()
                continue
            step = self._entity.plan.next(self._wanted(), trio.current_time())
            if step is not None:
                await self._pace(step)
                await self._advance(self._entity, step)
            elif self._number < len(self._turn.answer.sealed):
                await self._close(self._entity, "complete")
                self._entity = None
                self._number += 1
            elif self._turn.state.final:
                await self._close(self._entity, _outcome(self._turn.state))
                return
            else:
                with trio.move_on_after(self._tick_s()):
                    await self._changed.wait()
        await self._rest.show()

    def _wanted(self) -> View:
        sealed = self._turn.answer.sealed
        if self._number < len(sealed):
            return view_sealed(self._turn, self._style, sealed[self._number])
        return view_running(self._turn, self._style, trio.current_time())

    async def _pace(self, step: Step) -> None:
        """Let a moment pass after the last call; the turn's end does not wait."""
        if step.kind in PACE_S and not self._turn.state.final:
            with trio.move_on_at(self._next_call_at):
                await self._turn_final.wait()

    def _tick_s(self) -> float:
        elapsed = self._turn.elapsed_s(trio.current_time())
        return next((every for until, every in _TICKS if elapsed < until), _TICK_LATER_S)

    # ── opening ─────────────────────────────────────────────────────────────

    async def _open(self) -> None:
        """Create the next card, enter it into the ledger, and send it."""
        if self._entity is None:
            view = self._wanted()
            outcome = await self._retried(gateway.CreateCard(card_json=view.card_json), CardCreated)
            if not isinstance(outcome, CardCreated):
                return self._refused(outcome)
            self._entity = _Entity(outcome.card_id, view)
        entity = self._entity
        if not entity.entered:
            opening = self._client.opening
            entry = journal.LedgerEntry(
                card_id=entity.card_id,
                account=opening.account,
                chat_id=opening.chat_id,
                turn_id=opening.turn_id,
                session_id=opening.session_id,
                session_alias=opening.alias,
                opened_at_ms=self._client.peers.now_ms(),
            )
            await self._client.ledger(lambda reply: journal.OpenCard(entry=entry, reply=reply))
            entity.entered = True
        sent = await self._send(entity)
        if not isinstance(sent, MessageSent):
            await self._close(entity, "lost")
            return self._refused(sent)
        entity.message_id = sent.message_id
        await self._client.ledger(
            lambda reply: journal.NoteCard(
                card_id=entity.card_id, message_id=sent.message_id, reply=reply
            )
        )
        log.info("feishu.card.opened", **self._ids(entity), message=sent.message_id)
        return None

    async def _send(self, entity: _Entity) -> Outcome:
        opening = self._client.opening
        content = msgspec.json.encode(
            {"type": "card", "data": {"card_id": entity.card_id}}
        ).decode()
        outcome = await self._retried(
            gateway.ReplyMessage(
                message_id=opening.message_id,
                chat_id=opening.chat_id,
                msg_type="interactive",
                content_json=content,
                uuid=idempotency_key(opening.turn_id, "card", self._number),
            ),
            MessageSent,
        )
        if not isinstance(outcome, Gone):
            return outcome
        return await self._retried(
            gateway.CreateMessage(
                chat_id=opening.chat_id,
                msg_type="interactive",
                content_json=content,
                uuid=idempotency_key(opening.turn_id, "card-chat", self._number),
            ),
            MessageSent,
        )

    async def _retried(self, operation: gateway.Operation, wanted: type[Outcome]) -> Outcome:
        """Make a call again while there is a chance; its uuid makes that harmless."""
        pause_s = BACKOFF_FIRST_S
        until = trio.current_time() + OPEN_RETRY_S
        while True:
            outcome = await self._client.call(operation, gateway.Priority.CREATE)
            if isinstance(outcome, wanted) or trio.current_time() > until:
                return outcome
            again_s = again_after_s(outcome, pause_s)
            if again_s is None:
                return outcome
            await trio.sleep(again_s)
            pause_s = min(BACKOFF_MAX_S, pause_s * 2)

    def _refused(self, outcome: Outcome) -> None:
        reason = outcome.message if isinstance(outcome, Rejected) else repr(outcome)
        self._entity = None
        if self._number == 0:
            missing = outcome if isinstance(outcome, MissingScope) else None
            raise CardRefused(reason[:300], missing)
        self._continue_as_messages(reason)

    # ── updating ────────────────────────────────────────────────────────────

    async def _advance(self, entity: _Entity, planned: Step) -> None:
        """Wait for this card's share, plan anew, make the call, learn from what came."""
        api, priority = _APIS[planned.call], _PRIORITIES[planned.kind]
        permit: int | None = None
        self._waiting_for = priority
        with trio.CancelScope() as self._wait_scope:
            permit = await self._client.permit(
                lambda reply: gateway.Permit(
                    apis=(api,), priority=priority, card_id=entity.card_id, reply=reply
                )
            )
        self._waiting_for = None
        step = entity.plan.next(self._wanted(), trio.current_time())
        if permit is None or step is None or _APIS[step.call] is not api:
            return
        outcome: Outcome = NoAnswer(reason="overtaken by the turn's end")
        with trio.CancelScope() as self._call_scope:
            outcome = await self._client.call(
                _operation(entity.card_id, step), _PRIORITIES[step.kind], permit
            )
        if not isinstance(outcome, Rejected | NoAnswer):
            entity.plan.accepted(step, trio.current_time())
            self._next_call_at = trio.current_time() + PACE_S.get(step.kind, 0.0)
            await self._note_text(entity, step)
            return
        verdict = entity.plan.failed(step, outcome)
        if isinstance(verdict, Shrink):
            if self._turn.answer.shrink():
                return
            verdict = Lost(reason=verdict.reason)
        if isinstance(verdict, Lost) or self._too_late():
            reason = verdict.reason if isinstance(verdict, Lost) else repr(outcome)
            log.warning("feishu.card.lost", **self._ids(entity), reason=reason[:300])
            if isinstance(verdict, Lost):
                await self._close(entity, "lost")
            self._continue_as_messages(reason)
            return
        await trio.sleep(verdict.seconds)

    def _too_late(self) -> bool:
        ended = self._turn.ended_at
        return ended is not None and trio.current_time() - ended > FINAL_RETRY_S

    def _continue_as_messages(self, reason: str) -> None:
        """No card shows the rest: send it as messages once it is whole."""
        log.warning(
            "feishu.streaming.fallback",
            account=self._client.opening.account,
            chat=self._client.opening.chat_id,
            turn=self._client.opening.turn_id,
            reason=reason[:300],
        )
        self._rest = StaticPresenter(
            self._turn, self._client, lambda: False, from_segment=self._number
        )

    async def _note_text(self, entity: _Entity, step: Step) -> None:
        """Note in the ledger what is shown, now and then, so that a repair keeps it."""
        now = trio.current_time()
        if step.kind is not Kind.TEXT or now - entity.noted_at < NOTE_TEXT_EVERY_S:
            return
        entity.noted_at = now
        await self._client.ledger(
            lambda reply: journal.NoteCard(
                card_id=entity.card_id,
                text=entity.plan.shown_answer[:NOTE_TEXT_CHARACTERS_MAX],
                reply=reply,
            )
        )

    async def _close(self, entity: _Entity, outcome: journal.CardOutcome) -> None:
        if entity.closed:
            return  # a picture came later
        await self._client.ledger(
            lambda reply: journal.CloseCard(
                card_id=entity.card_id,
                outcome=outcome,
                at_ms=self._client.peers.now_ms(),
                reply=reply,
            )
        )
        entity.closed = True
        log.info("feishu.card.closed", **self._ids(entity), outcome=outcome)

    def _ids(self, entity: _Entity) -> dict[str, str]:
        opening = self._client.opening
        return {
            "account": opening.account,
            "chat": opening.chat_id,
            "turn": opening.turn_id,
            "session": opening.session_id,
            "card": entity.card_id,
        }


def _operation(card_id: CardId, step: Step) -> gateway.Operation:
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
        case "content":
            return gateway.ElementContent(
                card_id=card_id,
                element_id=step.element_id,
                content=step.content,
                sequence=step.sequence,
                uuid=uuid,
            )


def _outcome(state: TurnState) -> journal.CardOutcome:
    match state:
        case TurnState.COMPLETE:
            return "complete"
        case TurnState.ERROR:
            return "error"
        case _:
            return "aborted"
