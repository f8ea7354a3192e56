"""A turn as live cards: opened beside the work, updated in place, brought to an end.

The card is created and sent as a reply; from then on one loop asks ``cardplan`` what
the next call is, waits for its share of the rate budget, asks again, since the turn
goes on meanwhile, and makes the call. Full cards are sealed and the next one opened.
What no card takes goes as messages.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from actors.messages import gateway, journal
from actors.turns.client import TurnClient
from actors.turns.ends import CardEnds
from actors.turns.entity import (
    APIS,
    CALLS,
    CLOSE_WITHIN_S,
    PRIORITIES,
    CardEntity,
    CardRefused,
    next_call_at,
    operation_of,
    retried,
)
from actors.turns.entry import LAST_CLOSE_WITHIN_S, LedgerNotes, outcome_of
from actors.turns.inputs import TurnInputs
from actors.turns.static import StaticPresenter
from protocol.cards.answer import json_bytes
from protocol.cards.card import View, view_of, view_sealed
from protocol.cards.cardplan import Kind, Lost, Shrink, Step, tick_every_s
from protocol.cards.kept import Rest, keep
from protocol.cards.turn import Turn
from protocol.platform.outcomes import (
    CardCreated,
    MessageSent,
    MissingScope,
    NoAnswer,
    Outcome,
    Rejected,
    again_after_s,
)

FINAL_RETRY_S: Final = 300.0
END_FIRST_S: Final = 10.0
"""So long the messages that replace a card wait for its end; it is tried beside them then."""
OVERTAKEN_AFTER_S: Final = 0.5
"""So long the turn's end waits for a call under way. The platform refuses that one, should
it still arrive after the end: its sequence is the smaller one."""

log = structlog.get_logger()


class CardPresenter:
    """Shows one turn as cards, and what no card takes as messages."""

    def __init__(
        self,
        turn: Turn,
        client: TurnClient,
        inputs: TurnInputs,
        ends: CardEnds,
        unsent: LedgerNotes,
    ) -> None:
        """*unsent* is the entry of a turn without a card: it has the text until one is sent."""
        self._turn = turn
        self._client = client
        self._inputs = inputs
        self._ends = ends
        self._unsent = unsent
        self._style = client.style()
        self._number = 0  # of the card that is shown, from 0
        self._entity: CardEntity | None = None
        self._held: tuple[CardEntity, journal.CardOutcome] | None = None
        """A card that is over, whose entry has the text that follows it until that is sent."""
        self._changed = trio.Event()
        self._turn_final = trio.Event()
        self._next_call_at = 0.0
        self._last_text: tuple[Step, int, int] | None = None
        """What the last call was planned as, and the turn's revision and length then."""
        self._waiting_for: gateway.Priority | None = None
        self._wait_scope = trio.CancelScope()
        self._call_scope = trio.CancelScope()
        self._cut_to: str | None = None  # all that this card is to show, as its last text
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
        self._inputs.sleep()
        try:
            await self._show_cards()
        finally:
            self._inputs.wake()
        if self._rest is not None:
            await self._rest.show()
            await self._release()

    async def _show_cards(self) -> None:
        """Show until the final state was accepted, or the rest goes as messages."""
        while self._rest is None:
            self._changed = trio.Event()
            if self._entity is None or self._entity.message_id is None:
                await self._open()
                continue
            entity = self._entity
            await self._pace()
            step = self._more_text(entity) or self._plan(entity)
            if step is not None:
                await self._advance(entity, step)
            elif self._cut_to is not None:
                self._held = entity, "complete"
                await self._continue_as_messages("the card took no more", None)
            elif self._number < len(self._turn.answer.sealed):
                self._held = entity, "complete"
                self._entity = None
                self._number += 1
            elif self._turn.state.final:
                outcome = outcome_of(self._turn.state)
                await entity.entry.close(outcome, within_s=LAST_CLOSE_WITHIN_S)
                return
            else:
                self._inputs.wake()
                with trio.move_on_at(self._next_tick_at(entity)):
                    await self._changed.wait()
                self._inputs.sleep()

    async def note(self) -> None:
        """Note what the card shows, or is about to, where it has changed."""
        self._inputs.look()
        entity = self._held[0] if self._held is not None else self._entity
        if entity is not None and entity.message_id is not None:
            await self._note_on(entity)
        else:
            answer = self._turn.answer
            rest = Rest(texts=tuple(one for one in (*answer.sealed, answer.current) if one))
            kept = self._kept(rest)
            await self._unsent.enter(panels=kept)
            await self._unsent.note("", kept)

    async def _note_on(self, entity: CardEntity) -> None:
        """Note the card's text, and what of the turn stands on no card."""
        answer = self._turn.answer
        if self._rest is not None:
            text, rest = entity.plan.read[0], self._rest.unsent()
        else:
            text, *texts = [*answer.sealed, answer.current][entity.number :]
            rest = Rest(texts=tuple(one for one in texts if one))
        await entity.entry.note(text, self._kept(rest))

    def _kept(self, rest: Rest) -> bytes:
        addressed = self._client.addressed(rest, self._style)
        return keep(self._turn, addressed, tools=self._style.tools)

    async def _release(self) -> None:
        """Close the entry of the card before: what followed it is sent."""
        if self._held is not None:
            entity, outcome = self._held
            if not self._ends.closes(entity, outcome) and not await entity.entry.close(
                outcome, within_s=CLOSE_WITHIN_S
            ):
                self._ends.close(entity, outcome)
            self._held = None

    # ── what to show ────────────────────────────────────────────────────────

    def _wanted(self) -> View:
        self._inputs.look()
        if self._cut_to is not None:
            return view_sealed(self._turn, self._style, self._cut_to)
        return view_of(self._turn, self._style, self._number, trio.current_time())

    def _plan(self, entity: CardEntity, granted: gateway.Api | None = None) -> Step | None:
        via = CALLS[granted] if granted is not None else None
        return entity.plan.next(self._wanted(), trio.current_time(), tick_s=self._tick_s(), via=via)

    def _more_text(self, entity: CardEntity) -> Step | None:
        """Return the plan of the last call again, where nothing but its text goes on.

        It only names the calls to wait for: what is sent is planned when one is granted.
        """
        last, self._last_text = self._last_text, None
        self._inputs.look()
        if last is None or self._turn.state.final or self._number < len(self._turn.answer.sealed):
            return None
        step, revision, written = last
        if self._turn.revision != revision or self._turn.written == written:
            return None
        takes_footer = entity.plan.takes_footer(trio.current_time(), self._tick_s())
        return step if step.calls[0] == ("batch" if takes_footer else "content") else None

    async def _pace(self) -> None:
        """Let a moment pass after the last call; the turn's end does not wait."""
        if trio.current_time() < self._next_call_at and not self._turn.state.final:
            with trio.move_on_at(self._next_call_at):
                await self._turn_final.wait()

    def _next_tick_at(self, entity: CardEntity) -> float:
        now, every_s = trio.current_time(), self._tick_s()
        due_at = entity.plan.tick_due_at(every_s)
        return due_at if due_at > now else now + every_s  # due, and it reads as before

    def _tick_s(self) -> float:
        return tick_every_s(self._turn.elapsed_s(trio.current_time()))

    # ── opening ─────────────────────────────────────────────────────────────

    async def _open(self) -> None:
        """Create the next card and send it."""
        if self._entity is None:
            await self._create()
        entity = self._entity
        if entity is None:
            return
        await entity.entry.enter_before_sent()
        sent = await entity.send()
        if isinstance(sent, MessageSent):
            self._client.shows_card()
            entity.entry.take_over(self._unsent)
            if self._held is not None:
                entity.entry.take_over(self._held[0].entry)
                self._held = None
            await self._note_on(entity)
            return
        ended, sure = True, True
        if entity.may_be_sent or again_after_s(sent, 0.0) is not None:
            # One of the calls may have sent it: it ends without text, which all follows.
            view = view_sealed(self._turn, self._style, "")
            end = await entity.end_as(view, within_s=END_FIRST_S, gone_again_s=())
            ended = end == "final"
            sure = entity.plan.read == ("", True)
            if not ended:
                self._ends.add(entity, view, "lost")
        if ended and not await entity.entry.close("lost", within_s=CLOSE_WITHIN_S):
            self._ends.close(entity, "lost")
        await self._refused(sent, sure=sure)

    async def _create(self) -> None:
        granted = await self._client.permit((gateway.Api.CREATE_CARD,), gateway.Priority.CREATE)
        if granted is not None and granted.text_every_s:
            self._style = self._style.typed_every(granted.text_every_s)
        view = self._wanted()
        outcome = await retried(
            self._client,
            gateway.CreateCard(card_json=view.card_json),
            granted.permit if granted is not None else None,
        )
        if isinstance(outcome, CardCreated):
            self._entity = CardEntity(self._client, self._number, outcome.card_id, view)
        else:
            await self._refused(outcome)

    async def _refused(self, outcome: Outcome, *, sure: bool = True) -> None:
        reason = outcome.message if isinstance(outcome, Rejected) else repr(outcome)
        missing = outcome if isinstance(outcome, MissingScope) else None
        self._entity = None
        if self._number == 0:
            raise CardRefused(reason[:300], missing, sure=sure)
        await self._continue_as_messages(reason, missing, sure=sure)

    # ── updating ────────────────────────────────────────────────────────────

    async def _advance(self, entity: CardEntity, planned: Step) -> None:
        """Wait for this card's share, plan anew, make the call, learn from what came."""
        granted = await self._granted(entity, planned)
        if granted is None:
            return
        step = self._plan(entity, granted.api)
        revision, written = self._turn.revision, self._turn.written
        if step is None or APIS[step.call] is not granted.api:
            return
        outcome: Outcome = NoAnswer(reason="overtaken by the turn's end")
        now = trio.current_time()
        within_s = entity.plan.answer_within_s(step, now)
        entity.plan.begin(step, now)
        with trio.CancelScope() as self._call_scope:
            outcome = await self._client.call(
                operation_of(entity.card_id, step),
                PRIORITIES[step.kind],
                granted.permit,
                answer_within_s=within_s,
            )
        if not isinstance(outcome, Rejected | NoAnswer):
            entity.accepted(step)
            if step.kind is Kind.TEXT and planned.kind is Kind.TEXT:
                self._last_text = planned, revision, written
            self._next_call_at = next_call_at(step.kind, trio.current_time())
            return
        await self._failed(entity, step, outcome)

    async def _granted(self, entity: CardEntity, planned: Step) -> gateway.Granted | None:
        granted: gateway.Granted | None = None
        self._waiting_for = PRIORITIES[planned.kind]
        if self._waiting_for > gateway.Priority.TEXT:
            self._inputs.wake()  # words go before what is waited for
        with trio.CancelScope() as self._wait_scope:
            apis = tuple(APIS[call] for call in planned.calls)
            granted = await self._client.permit(apis, self._waiting_for, entity.card_id)
        self._waiting_for = None
        self._inputs.sleep()
        return granted

    async def _failed(self, entity: CardEntity, step: Step, outcome: Rejected | NoAnswer) -> None:
        verdict = entity.plan.failed(step, outcome, trio.current_time())
        if isinstance(verdict, Shrink):
            if self._shrink(step.view) or self._cut(entity):
                return
            verdict = Lost(reason=verdict.reason, gone=False)
        if isinstance(verdict, Lost) or self._too_late():
            lost = verdict if isinstance(verdict, Lost) else Lost(reason=repr(outcome), gone=False)
            log.warning("feishu.card.lost", **entity.ids(), reason=lost.reason[:300])
            if isinstance(verdict, Lost):
                # Also one that is gone: it may be there after all, and look as if more came.
                text = entity.plan.read[0]
                view = view_sealed(self._turn, self._style, text, with_panels=True)
                self._ends.add(entity, view)
                self._held = entity, "lost"
            await self._continue_as_messages(lost.reason, lost.missing)
            return
        if step.kind is Kind.FINAL:
            await trio.sleep(verdict.seconds)
            return
        # What was refused to text holds up no end.
        with trio.move_on_after(verdict.seconds):
            await self._turn_final.wait()

    def _shrink(self, view: View) -> bool:
        """Put less on the card: of its panels or of its answer, whatever takes more."""
        if self._number < len(self._turn.answer.sealed):
            return False  # it shows its text alone
        answer = json_bytes(view.answer)
        beside = len(view.card_json.encode()) - answer
        smaller = self._style.smaller()
        if smaller is not None and beside > answer:
            self._style = smaller
            return True
        if self._turn.answer.shrink():
            return True
        if smaller is not None:
            self._style = smaller
        return smaller is not None

    def _cut(self, entity: CardEntity) -> bool:
        """End the card with what it took so far, at last with nothing; the rest are messages."""
        if self._cut_to is None:
            self._cut_to = entity.plan.read[0]
        elif self._cut_to:
            self._cut_to = ""
        else:
            return False
        return True

    def _too_late(self) -> bool:
        ended = self._turn.ended_at
        return ended is not None and trio.current_time() - ended > FINAL_RETRY_S

    async def _continue_as_messages(
        self, reason: str, missing: MissingScope | None, *, sure: bool = True
    ) -> None:
        """No card shows the rest: send it as messages, without what people can read already.

        Without a card, *sure* is whether nothing of the rest can be read on one all the same.
        """
        log.warning("feishu.streaming.fallback", **self._client.ids(), reason=reason[:300])
        read, sure = self._entity.plan.read if self._entity is not None else ("", sure)
        self._rest = StaticPresenter(
            self._turn, self._client, segment=self._number, read=read, sure=sure
        )
        self._client.note_unsent = self.note
        self._client.shows_no_card()
        if missing is not None:
            await self._client.send_grant_notice(missing)
