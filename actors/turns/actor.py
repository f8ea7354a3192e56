"""One turn's actor: receives what the proxy sends, and shows it until its end is accepted.

A presenter shows it, as a card or as plain replies; a card that the platform refuses
gives way to plain replies. Whatever ends this actor, a cancellation or a
crash beside it, the turn is brought to its end under a shield with a deadline.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog
import trio

from actors.kit import metrics
from actors.kit.mailbox import offer
from actors.messages import journal, lane, turn
from actors.turns.background import is_background, send_background_notice
from actors.turns.card import CardPresenter
from actors.turns.client import TurnClient
from actors.turns.ends import CardEnds
from actors.turns.entity import CardRefused
from actors.turns.entry import LedgerNotes
from actors.turns.inputs import TurnInputs
from actors.turns.peers import Peers
from actors.turns.pictures import TurnPictures
from actors.turns.static import StaticTurn
from actors.turns.typing_mark import TypingMark
from protocol.cards.turn import Turn
from protocol.strings import amounts, on_card
from protocol.wire import messages as wire
from protocol.wire import vocabulary
from protocol.wire.pieces import texts

LATE_PICTURES_S: Final = 45.0
NOTE_EVERY_S: Final = 1.5
"""Of what is shown, into the ledger: with the commit, every 2 s (``cards.md``)."""
NOTES_TOGETHER_S: Final = 0.25
"""All turns write at multiples of it, so that those of many share a commit."""

ENDED: Final = metrics.counter("larkd_turns", "Turns that ended, by how.", "outcome")
IN_FLIGHT: Final = metrics.gauge(
    "larkd_turns_in_flight", "Turns whose final state is not accepted yet."
)

log = structlog.get_logger()


class Presenter(Protocol):
    """Shows a turn. Its methods may be called again after they were cancelled."""

    def notify(self) -> None:
        """The turn has changed: what is waiting to be shown may be out of date."""

    async def note(self) -> None:
        """Note in the ledger what a repair would need, where it has changed."""

    async def show(self) -> None:
        """Show the turn as it goes; return when its final state was accepted.

        Raises:
            CardRefused: the platform takes no card for this turn.
        """


async def show_turn(
    opening: turn.TurnOpening,
    inbox: turn.InputReceiver,
    lane_tx: trio.MemorySendChannel[lane.LaneMessage],
    peers: Peers,
) -> None:
    """Run one turn from its opening to its accepted end."""
    shown = (opening.session_id, opening.turn_id)
    peers.showing.add(shown)
    actor = _TurnActor(opening, inbox, lane_tx, peers)
    try:
        with IN_FLIGHT.track_inprogress():
            await actor.run()
    finally:
        actor.let_go()
        peers.showing.discard(shown)


class _TurnActor:
    def __init__(
        self,
        opening: turn.TurnOpening,
        inbox: turn.InputReceiver,
        lane_tx: trio.MemorySendChannel[lane.LaneMessage],
        peers: Peers,
    ) -> None:
        self._opening = opening
        self._inbox = inbox
        self._inputs = TurnInputs(
            inbox, self._receive, self._receive_large, self._look_for_pictures
        )
        self._nursery: trio.Nursery | None = None
        self._lane_tx = lane_tx
        self._peers = peers
        self._client = TurnClient(opening, peers)
        self._client.shows_card = self._card_sent
        self._client.shows_no_card = self._card_lost
        self._turn = Turn(trio.current_time())
        self._ended = trio.Event()
        self._typing: TypingMark | None = None
        # In a topic an own turn replies to a message that it is no answer to.
        is_own = vocabulary.OWN_TURN_ID_PATTERN.fullmatch(opening.turn_id) is not None
        if opening.message_id is not None and not is_own:
            self._typing = TypingMark(opening.account, opening.message_id, opening.turn_id, peers)
        self._typing_over = trio.Event()
        self._background: bool | None = None  # until the turn has ended
        self._pictures = TurnPictures(self._turn, self._client, self._pictured)
        self._pictured_late = False
        self._client.settle_pictures = self._pictures.settle_for_good
        self._ends = CardEnds()
        self._entry = LedgerNotes(self._client, journal.text_entry_id(opening.key))
        """Of what stands on no card: all of a static turn, and of another until one is sent."""
        self._presenter: Presenter = (
            CardPresenter(self._turn, self._client, self._inputs, self._ends, self._entry)
            if opening.mode == "streaming"
            else StaticTurn(self._turn, self._client, self._entry)
        )
        self._shown = False

    def let_go(self) -> None:
        """Hold nothing that holds this: what a turn has kept is freed as soon as it is over."""
        self._client.let_go()
        self._inputs.let_go()
        self._pictures.let_go()

    def _pictured(self) -> None:
        self._pictured_late = self._shown
        self._presenter.notify()

    def _card_sent(self) -> None:
        offer(self._lane_tx, lane.CardSent(turn_id=self._opening.turn_id))

    def _card_lost(self) -> None:
        offer(self._lane_tx, lane.CardLost(turn_id=self._opening.turn_id))

    async def run(self) -> None:
        try:
            with self._inbox, self._reading_to_the_end():
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    nursery.start_soon(self._listen)
                    nursery.start_soon(self._mark)
                    nursery.start_soon(self._keep_ledger)
                    nursery.start_soon(self._watch_for_stall)
                    nursery.start_soon(self._ends.run)
                    await self._show()
                    await self._notify_if_background()
                    # A picture that comes later still takes its place on the card.
                    await self._pictures.settle(LATE_PICTURES_S)
                    if self._pictured_late:
                        await self._show()
                    await self._typing_over.wait()
                    await self._ends.settle()
                    nursery.cancel_scope.cancel(reason="turn shown")
        finally:
            with self._peers.cleanup.shielded() as scope:
                await self._finish()  # noqa: ASYNC102  # shielded above, with a deadline
            if scope.cancelled_caught and not self._shown:
                log.error("turn.not_finished", turn=self._opening.turn_id)

    async def _finish(self) -> None:
        """Bring to their end what is not there yet: the turn, and its mark, side by side."""
        async with trio.open_nursery() as nursery:
            if self._typing is not None:
                nursery.start_soon(self._typing.clear)
            nursery.start_soon(self._ends.finish)
            if not self._shown:
                self._turn.stop(trio.current_time())
                await self._show()

    async def _mark(self) -> None:
        """Keep the Typing mark on the message until the turn has ended."""
        if self._typing is not None:
            await self._typing.run(self._ended)
        self._typing_over.set()

    async def _keep_ledger(self) -> None:
        while True:
            due_at = trio.current_time() + NOTE_EVERY_S
            await trio.sleep_until(due_at - due_at % NOTES_TOGETHER_S)
            await self._presenter.note()

    async def _watch_for_stall(self) -> None:
        """Notify the person once that nothing new has come for long."""
        stall_s = self._peers.stall_notice_s.get(self._opening.account, 0.0)
        while stall_s and not self._turn.state.final:
            self._inputs.look()
            left_s = stall_s - self._turn.idle_s(trio.current_time())
            if left_s > 0:
                await trio.sleep(left_s)
                continue
            self._presenter.notify()
            notice = on_card.STALLED.format(
                alias=self._opening.alias, minutes=amounts.minutes(stall_s)
            )
            await self._client.send_text(notice, "stalled")
            return

    async def _notify_if_background(self) -> None:
        if self._background is None:
            self._background = await is_background(self._client, self._turn.state)
        if self._background:
            await send_background_notice(self._client, self._turn.state)

    async def _show(self) -> None:
        try:
            await self._presenter.show()
        except CardRefused as refused:
            log.warning("feishu.streaming.fallback", **self._client.ids(), reason=str(refused))
            self._presenter = StaticTurn(self._turn, self._client, self._entry, sure=refused.sure)
            self._card_lost()
            if refused.missing is not None:
                await self._client.send_grant_notice(refused.missing)
            await self._presenter.show()
        self._shown = True

    @contextmanager
    def _reading_to_the_end(self) -> Iterator[None]:
        """Whatever ends the turn: text that lies there unread is part of it."""
        try:
            yield
        finally:
            self._nursery = None
            self._inputs.finish()

    def _look_for_pictures(self) -> None:
        if self._nursery is not None:
            self._pictures.look(self._nursery)

    async def _listen(self) -> None:
        await self._inputs.listen(self._changed)
        self._turn.lose_session(trio.current_time())
        await self._changed()

    async def _receive_large(self, message: turn.TurnInput) -> None:
        """Take it in its turn among what is large; a long text that ends the turn, in pieces."""
        heavy = self._peers.heavy
        if isinstance(message, wire.TurnEnd) and message.text:
            first, *rest = texts(message.text)
            now = trio.current_time()
            await heavy.run(lambda: self._turn.append_tail(first, now))
            for text in rest:
                delta = wire.Delta(turn_id=message.turn_id, text=text)
                await heavy.run(partial(self._receive, delta))
            message = msgspec.structs.replace(message, text=None)
        await heavy.run(lambda: self._receive(message))

    async def _changed(self) -> None:
        self._presenter.notify()
        if self._turn.state.final:
            if not self._ended.is_set():
                ENDED.labels(outcome=self._turn.state.value).inc()
            self._ended.set()
            if self._background is None:
                self._background = await is_background(self._client, self._turn.state)

    def _receive(self, message: turn.TurnInput) -> None:
        now = trio.current_time()
        match message:
            case turn.Stop(answered=answered):
                if self._turn.stop(now):
                    self._client.stop_is_answered = answered
            case turn.SessionLost():
                self._turn.lose_session(now)
            case turn.Waits(change=change):
                self._turn.waits(change, now)
            case _:
                self._turn.apply(message, now)
                if isinstance(message, wire.TurnEnd):
                    # Also of a turn that was stopped: the lane waits for it.
                    offer(
                        self._lane_tx,
                        lane.TurnEnded(turn_id=self._opening.turn_id, status=message.status),
                    )
