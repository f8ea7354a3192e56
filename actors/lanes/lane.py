"""A lane: the order of one session's turns, the one in flight, and its cancellation.

A lane pulls: when it is free it asks ownership for its session's next row, so a
row waits in the journal, where it is safe and can still follow the lease, and not
here. A ``turns`` session runs one turn at a time; a channel session, which answers
through tools, is given rows as they come.

Every message is handled in one step without waiting; whatever waits is a child.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

from actors.kit.mailbox import ActorGone, ask, is_empty, offer, put, taken
from actors.lanes.marks import Marks
from actors.lanes.opening import own_turn_opening, turn_opening
from actors.lanes.peers import Peers
from actors.lanes.running import RunningTurn, ShownTurns, may_stop, turn_to_stop
from actors.lanes.settings import LaneSettings
from actors.messages import lane, link, ownership, turn
from protocol import ids
from protocol.ids import RowId, SessionId, TurnId
from protocol.routing.delivery import Offer
from protocol.wire import messages as wire
from protocol.wire import vocabulary

TURN_INPUTS_MAX: Final = 64
"""Joined messages a turn's actor may have unread; past it the proxy's TCP pushes back."""
TURNS_SHOWN_MAX: Final = 64
"""Turns of one session whose actors are at work, past which it opens none by itself."""
ASK_WITHIN_S: Final = 5.0
ASK_AGAIN_S: Final = 1.0

log = structlog.get_logger()


class Lane:
    """The lane of *session_id*. ``own`` is its own mailbox, for its children."""

    def __init__(
        self,
        session_id: SessionId,
        settings: LaneSettings,
        peers: Peers,
        own: trio.MemorySendChannel[lane.LaneMessage],
        retire: Callable[[], None],
    ) -> None:
        self._session_id = session_id
        self._settings = settings
        self._to = peers
        self._own = own
        self._retire = retire
        self._peer: lane.Attached | None = None
        self._turn: RunningTurn | None = None
        self._own_turn: RunningTurn | None = None  # one that nobody asked for; beside the lane's
        self._own_turns_reported = 0
        self._showing = ShownTurns()
        self._asked_for: lane.Attached | None = None  # a row is being asked for, for this peer
        self._more = False
        self._stops_due: list[lane.StopTurn] = []
        """Asked for while nothing runs: answered once the row that is being asked for is here."""
        self._stops_next: list[lane.StopTurn] = []
        """Asked for since then: a row may be ready that this question does not bring."""
        self._draining = False
        self._unresponsive: TurnId | None = None
        self._marks = Marks(peers.mark)  # of a channel session

    async def serve(self, inbox: trio.MemoryReceiveChannel[lane.LaneMessage]) -> None:
        """Serve until the session is gone and its last card is final."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            while True:
                message: lane.LaneMessage | None = await inbox.receive()
                while message is not None:
                    self._handle(message)
                    message = taken(inbox)
                self._fetch_if_free()
                turns = self._turn or self._own_turn
                if self._peer is not None or turns or self._showing or self._asked_for:
                    continue
                if is_empty(inbox):  # else a connection that has just come would be lost
                    # No checkpoint from this check to the retirement.
                    self._retire()
                    return  # noqa: ASYNC121  # retired: its children may end first

    def _handle(self, message: lane.LaneMessage) -> None:
        match message:
            case lane.Attached():
                self._lose_turn()
                self._peer = message
                self._more = True
            case lane.Detached(connection_id=connection_id):
                if self._peer is not None and self._peer.connection_id == connection_id:
                    self._lose_turn()
                    self._peer = None
            case lane.Wake():
                self._more = True
            case lane.RowClosed(row_id=row_id):
                self._marks.end(row_id)
            case lane.ToolCalled():
                self._marks.read()
            case Offer():
                self._offered(message)
            case lane.Fetched(more=more):
                self._asked_for = None
                self._more = self._more or more
                self._answer_stops(self._stops_due)
                self._stops_due = []
            case lane.StopTurn():
                self._stop_or_wait(message)
            case lane.OpenOwnTurn():
                with message.reply:
                    if not message.reply.abandoned:  # else nobody would end it
                        message.reply.send(self._open_own_turn(message))
            case lane.RowRevoked(row_id=row_id):
                if self._turn is not None and self._turn.row_id == row_id:
                    self._turn.revoked = True
                    self._cancel(self._turn, "user")
            case lane.StopRecalled(message_id=message_id):
                if self._turn is not None and message_id in self._turn.message_ids:
                    self._cancel(self._turn, "recalled")
            case lane.StopAll():
                with message.reply:
                    self._draining = True
                    for running in filter(None, (self._turn, self._own_turn)):
                        self._cancel(running, "shutdown")
                    message.reply.send(None)
            case (
                lane.TurnEnded()
                | lane.CardSent()
                | lane.CardLost()
                | lane.CancelExpired()
                | lane.TurnActorEnded()
                | lane.StopShown()
            ):
                self._handle_of_turn(message)

    def _handle_of_turn(
        self,
        message: lane.TurnEnded
        | lane.CardSent
        | lane.CardLost
        | lane.CancelExpired
        | lane.TurnActorEnded
        | lane.StopShown,
    ) -> None:
        """Handle what concerns one turn, which may be over."""
        match message:
            case lane.TurnEnded(turn_id=turn_id):
                self._turn_ended(turn_id)
            case lane.CardSent(turn_id=turn_id):
                self._showing.card_sent(turn_id)
            case lane.CardLost(turn_id=turn_id):
                if self._turn is not None and self._turn.opening.turn_id == turn_id:
                    self._turn.mode = "static"
            case lane.CancelExpired(turn_id=turn_id):
                self._cancel_expired(turn_id)
            case lane.TurnActorEnded(turn_id=turn_id, crashed=crashed):
                self._showing.end(turn_id, crashed=crashed)
                for running in filter(None, (self._turn, self._own_turn)):
                    if crashed and running.opening.turn_id == turn_id:
                        self._cancel(running, "timeout")
            case lane.StopShown():
                self._showing.wait(message)

    # ── rows become turns ───────────────────────────────────────────────────

    def _fetch_if_free(self) -> None:
        if self._asked_for:
            return
        stops, self._stops_next = self._stops_next, []
        if self._peer is None or self._draining or not self._more or self._at_work(self._peer):
            self._answer_stops(stops)
            return
        self._asked_for, self._stops_due = self._peer, stops
        self._more = False
        self._nursery.start_soon(self._fetch, self._peer)

    def _at_work(self, peer: lane.Attached) -> bool:
        return self._turn is not None and vocabulary.CAPABILITY_TURNS in peer.capabilities

    async def _fetch(self, peer: lane.Attached) -> None:
        rows: tuple[Offer, ...] = ()
        failed = False
        try:
            rows = await ask(
                self._to.ownership_tx,
                lambda reply: ownership.Next(
                    session_id=self._session_id, connection_id=peer.connection_id, reply=reply
                ),
                within_s=ASK_WITHIN_S,
            )
        except (trio.TooSlowError, ActorGone):
            failed = True
            await trio.sleep(ASK_AGAIN_S)
        for row in rows:
            await put(self._own, await self._to.complete(row))
        await put(self._own, lane.Fetched(more=failed or (bool(rows) and rows[-1].more)))

    def _offered(self, row: Offer) -> None:
        if self._peer is not None and self._peer is self._asked_for:
            self._begin(self._peer, row)
        # else the older connection's end has released this row

    def _begin(self, peer: lane.Attached, row: Offer) -> None:
        turn_id = ids.turn_id(self._settings.random_bytes(ids.TURN_ID_BYTES))
        inputs: turn.InputSender | None = None
        if vocabulary.CAPABILITY_TURNS in peer.capabilities:
            self._turn = self._show(turn_opening(peer, row, turn_id, self._settings), row)
            inputs = self._turn.inputs.clone()
        else:
            self._marks.add(lane.Given(offer=row, turn_id=turn_id, alias=peer.alias), self._nursery)
        given = offer(peer.link, link.Give(offer=row, turn_id=turn_id, turn=inputs))
        if not given and inputs is not None:
            inputs.close()  # the link is over, and nobody else would

    def _open_own_turn(self, wish: lane.OpenOwnTurn) -> lane.OwnTurnOpened | lane.OwnTurnRefused:
        peer = self._peer
        if peer is None or peer.connection_id != wish.connection_id or self._draining:
            return lane.OwnTurnRefused(why="the session is leaving")
        if self._own_turn is not None and wish.earlier_ended:
            self._turn_ended(self._own_turn.opening.turn_id)  # its actor has yet to read its end
        if self._own_turn is not None:
            return lane.OwnTurnRefused(
                why=f"turn {self._own_turn.opening.turn_id} is open; end it first"
            )
        if len(self._showing) >= TURNS_SHOWN_MAX:
            return lane.OwnTurnRefused(
                why=f"the ends of {TURNS_SHOWN_MAX} turns are still being shown; open it later"
            )
        nonce = self._settings.random_bytes(ids.TURN_ID_BYTES).hex()
        opening = own_turn_opening(wish, peer.alias, self._settings, nonce)
        self._own_turn = self._show(opening, None)
        self._report_own_turn()
        return lane.OwnTurnOpened(turn=self._own_turn.inputs.clone())

    def _show(self, opening: turn.TurnOpening, row: Offer | None) -> RunningTurn:
        inputs, outlet = turn.open_inputs(TURN_INPUTS_MAX)
        self._showing.begin(opening.turn_id)
        self._nursery.start_soon(self._run_turn, opening, outlet, name=f"turn {opening.turn_id}")
        return RunningTurn(opening, row, inputs)

    async def _run_turn(self, opening: turn.TurnOpening, outlet: turn.InputReceiver) -> None:
        """Run the turn's actor; when it is done before the proxy is, drop what still comes."""
        crash: Exception | None = None
        with outlet:
            try:
                await self._to.show_turn(opening, outlet.clone(), self._own)
            except* Exception as group:  # its crash is that turn's failure, no more
                log.exception("turn.crashed", turn=opening.turn_id, session=self._session_id)
                crash = group
            if crash is not None:
                await self._to.finish_crashed(opening)
            await self._own.send(
                lane.TurnActorEnded(turn_id=opening.turn_id, crashed=crash is not None)
            )
            async for message in outlet:
                if isinstance(message, wire.TurnEnd):
                    await self._own.send(
                        lane.TurnEnded(turn_id=opening.turn_id, status=message.status)
                    )

    # ── turns end ───────────────────────────────────────────────────────────

    def _turn_ended(self, turn_id: TurnId) -> None:
        if turn_id == self._unresponsive:
            self._owe_end(None)
        if self._own_turn is not None and self._own_turn.opening.turn_id == turn_id:
            self._own_turn.inputs.close()
            self._own_turn = None
            self._report_own_turn()
            return
        if self._turn is None or self._turn.opening.turn_id != turn_id:
            return
        if self._turn.row_id is not None and not self._turn.revoked:
            self._nursery.start_soon(self._close_row, self._turn.row_id)
        self._drop_turn()

    def _report_own_turn(self) -> None:
        """Let people see that the session is at work, though the lane is free."""
        self._own_turns_reported += 1
        own = self._own_turn
        self._nursery.start_soon(
            self._to.ownership_tx.send,
            ownership.OwnTurnAt(
                session_id=self._session_id,
                number=self._own_turns_reported,
                place=None if own is None else own.opening.place,
            ),
        )

    async def _close_row(self, row_id: RowId) -> None:
        await self._to.ownership_tx.send(ownership.RowAnswered(row_id=row_id))

    def _stop_or_wait(self, stop: lane.StopTurn) -> None:
        """Stop it; where nothing runs, look first whether a row was about to.

        Who sends a message and at once a word to stop means that message.
        """
        takes_turns = self._peer is not None and (
            vocabulary.CAPABILITY_TURNS in self._peer.capabilities
        )
        idle = turn_to_stop(stop, (self._turn, self._own_turn)) is None and self._turn is None
        if idle and takes_turns and stop.turn_id is None and not self._draining:
            self._more = True
            waiting = [one for one in self._stops_next if not one.reply.abandoned]
            self._stops_next = [*waiting, stop]
            return
        with stop.reply:
            stop.reply.send(self._stop(stop))

    def _answer_stops(self, stops: list[lane.StopTurn]) -> None:
        """The row that was there, if any, is a turn now."""
        for stop in stops:
            with stop.reply:
                stop.reply.send(self._stop(stop))

    def _stop(self, stop: lane.StopTurn) -> lane.StopAnswer:
        running = turn_to_stop(stop, (self._turn, self._own_turn))
        if running is None or stop.reply.abandoned:  # then its person was answered so
            return lane.NothingRunning()
        if not may_stop(stop, running.opening):
            return lane.NotAllowed()
        # Who asks sends a message where there is no card, too.
        self._cancel(running, stop.reason, answered=stop.answered or running.mode == "static")
        return lane.Stopped(
            session_id=self._session_id,
            turn_id=running.opening.turn_id,
            alias=running.opening.alias,
            mode=running.mode,
        )

    def _cancel(
        self, running: RunningTurn, reason: vocabulary.CancelReason, *, answered: bool = False
    ) -> None:
        """Ask the proxy, show Stopped, start the clock: none waits for another."""
        if running.cancelled:
            return
        running.cancelled = True
        turn_id = running.opening.turn_id
        if self._peer is not None:
            offer(self._peer.link, wire.Cancel(turn_id=turn_id, reason=reason))
        running.send(turn.Stop(reason=reason, answered=answered), self._nursery)
        self._nursery.start_soon(self._expire_cancel, turn_id)

    async def _expire_cancel(self, turn_id: TurnId) -> None:
        await trio.sleep(self._settings.cancel_deadline_s)
        await self._own.send(lane.CancelExpired(turn_id=turn_id))

    def _cancel_expired(self, turn_id: TurnId) -> None:
        if self._own_turn is not None and self._own_turn.opening.turn_id == turn_id:
            self._turn_ended(turn_id)
            return
        if self._turn is None or self._turn.opening.turn_id != turn_id:
            return
        log.warning("session.unresponsive", session=self._session_id, turn=turn_id)
        self._turn_ended(turn_id)
        self._owe_end(turn_id)

    def _owe_end(self, turn_id: TurnId | None) -> None:
        """The session still owes the end of this turn, or owes none any more."""
        if (self._unresponsive is None) is not (turn_id is None):
            self._nursery.start_soon(
                self._to.ownership_tx.send,
                ownership.Unresponsive(
                    session_id=self._session_id, unresponsive=turn_id is not None
                ),
            )
        self._unresponsive = turn_id

    def _lose_turn(self) -> None:
        """The connection that ran the turn is over. Ownership decides about its row."""
        self._marks.end_all()
        self._owe_end(None)
        if self._own_turn is not None:
            self._own_turn.send(turn.SessionLost(), self._nursery)
            self._turn_ended(self._own_turn.opening.turn_id)
        if self._turn is not None:
            self._turn.send(turn.SessionLost(), self._nursery)
            self._drop_turn()

    def _drop_turn(self) -> None:
        if self._turn is not None:
            self._turn.inputs.close()
            self._turn = None
            self._more = True
