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

from actors.kit.mailbox import ActorGone, ask, is_empty, offer
from actors.lanes.own_turns import own_turn_opening
from actors.lanes.peers import Peers
from actors.lanes.settings import LaneSettings, streams_in
from actors.messages import lane, link, ownership, turn
from protocol import ids
from protocol.ids import RowId, SessionId, TurnId
from protocol.routing.delivery import Offer
from protocol.routing.roster import ReplyMode
from protocol.wire import messages as wire
from protocol.wire import vocabulary

TURN_INPUTS_MAX: Final = 64
"""Joined messages a turn's actor may have unread; past it the proxy's TCP pushes back."""
ASK_WITHIN_S: Final = 5.0
ASK_AGAIN_S: Final = 1.0
MARKED_MAX: Final = 64
"""Messages of a channel session that carry the Typing mark at once; more go without."""

log = structlog.get_logger()


class _Turn:
    """The turn in flight."""

    def __init__(
        self,
        opening: turn.TurnOpening,
        row_id: RowId,
        inputs: trio.MemorySendChannel[turn.TurnInput],
    ) -> None:
        self.opening = opening
        self.mode = opening.mode
        self.row_id = row_id
        self.inputs = inputs
        self.cancelled = False
        self.revoked = False


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
        self._turn: _Turn | None = None
        self._own_turn: _Turn | None = None  # one that nobody asked for; beside the lane's
        self._showing = 0
        self._fetching = False
        self._more = False
        self._draining = False
        self._unresponsive: TurnId | None = None
        self._marked: dict[RowId, lane.Given] = {}  # of a channel session

    async def serve(self, inbox: trio.MemoryReceiveChannel[lane.LaneMessage]) -> None:
        """Serve until the session is gone and its last card is final."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            while True:
                self._handle(await inbox.receive())
                self._fetch_if_free()
                turns = self._turn or self._own_turn
                if self._peer is not None or turns or self._showing or self._fetching:
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
                self._unmark(row_id)
            case lane.ToolCalled():
                for given in self._marked.values():
                    given.read.set()
            case lane.Fetched():
                self._fetched(message)
            case lane.StopTurn():
                with message.reply:
                    message.reply.send(self._stop(message))
            case lane.OpenOwnTurn():
                with message.reply:
                    message.reply.send(self._open_own_turn(message))
            case lane.RowRevoked(row_id=row_id):
                if self._turn is not None and self._turn.row_id == row_id:
                    self._turn.revoked = True
                    self._cancel(self._turn, "user")
            case lane.MessageRecalled(message_id=message_id):
                if self._turn is not None and self._turn.opening.message_id == message_id:
                    self._cancel(self._turn, "recalled")
            case lane.StopAll():
                with message.reply:
                    self._draining = True
                    for running in filter(None, (self._turn, self._own_turn)):
                        self._cancel(running, "shutdown")
                    message.reply.send(None)
            case lane.TurnEnded(turn_id=turn_id):
                self._turn_ended(turn_id)
            case lane.CardLost(turn_id=turn_id):
                if self._turn is not None and self._turn.opening.turn_id == turn_id:
                    self._turn.mode = "static"
            case lane.CancelExpired(turn_id=turn_id):
                self._cancel_expired(turn_id)
            case lane.TurnActorEnded(turn_id=turn_id, crashed=crashed):
                self._showing -= 1
                own = self._own_turn
                if crashed and own is not None and own.opening.turn_id == turn_id:
                    self._cancel(own, "timeout")
                if crashed and self._turn is not None and self._turn.opening.turn_id == turn_id:
                    self._cancel(self._turn, "timeout")

    # ── rows become turns ───────────────────────────────────────────────────

    def _fetch_if_free(self) -> None:
        if self._peer is None or self._draining or self._fetching or not self._more:
            return
        if self._turn is not None and vocabulary.CAPABILITY_TURNS in self._peer.capabilities:
            return
        self._fetching = True
        self._more = False
        self._nursery.start_soon(self._fetch, self._peer)

    async def _fetch(self, peer: lane.Attached) -> None:
        row: ownership.NextRow | None = None
        failed = False
        try:
            row = await ask(
                self._to.ownership_tx,
                lambda reply: ownership.Next(
                    session_id=self._session_id, connection_id=peer.connection_id, reply=reply
                ),
                within_s=ASK_WITHIN_S,
            )
        except (trio.TooSlowError, ActorGone):
            failed = True
            await trio.sleep(ASK_AGAIN_S)
        await self._own.send(lane.Fetched(connection_id=peer.connection_id, row=row, failed=failed))

    def _fetched(self, fetched: lane.Fetched) -> None:
        self._fetching = False
        self._more = self._more or fetched.failed or fetched.row is not None
        if fetched.row is None:
            return
        if self._peer is None or self._peer.connection_id != fetched.connection_id:
            return  # the older connection's end has released this row
        self._begin(self._peer, fetched.row)

    def _begin(self, peer: lane.Attached, fetched: ownership.NextRow) -> None:
        row = fetched.offer
        turn_id = ids.turn_id(self._settings.random_bytes(ids.TURN_ID_BYTES))
        inputs: trio.MemorySendChannel[turn.TurnInput] | None = None
        if vocabulary.CAPABILITY_TURNS in peer.capabilities:
            inputs = self._open_turn(peer, row, turn_id, fetched.reply_mode)
        else:
            self._mark(lane.Given(row, turn_id, peer.alias))
        offer(
            peer.link,
            link.Offered(
                deliver=wire.Deliver(
                    event_id=row.event_id,
                    turn_id=turn_id,
                    attempt=row.attempt,
                    lease_epoch=row.lease_epoch,
                    chat_id=row.prepared.chat_id,
                    content=row.prepared.content,
                    meta=row.prepared.meta,
                    attachments=list(row.prepared.attachments),
                ),
                turn=inputs,
            ),
        )

    def _mark(self, given: lane.Given) -> None:
        """What a channel session was given shows that, until it answers it."""
        if len(self._marked) < MARKED_MAX:
            self._nursery.start_soon(self._show_mark, given)

    async def _show_mark(self, given: lane.Given) -> None:
        self._marked[given.offer.row_id] = given
        try:
            await self._to.mark(given)
        finally:
            self._marked.pop(given.offer.row_id, None)

    def _unmark(self, row_id: RowId) -> None:
        given = self._marked.get(row_id)
        if given is not None:
            given.end()

    def _open_turn(
        self, peer: lane.Attached, row: Offer, turn_id: TurnId, mode: ReplyMode | None
    ) -> trio.MemorySendChannel[turn.TurnInput]:
        prepared = row.prepared
        streams = streams_in(self._settings, row.account, prepared.chat_id, prepared.chat_type)
        opening = turn.TurnOpening(
            turn_id=turn_id,
            session_id=self._session_id,
            alias=peer.alias,
            account=row.account,
            chat_id=prepared.chat_id,
            message_id=prepared.message_id,
            sender_id=prepared.sender_id,
            chat_type=prepared.chat_type,
            mode="streaming" if streams else "static",
            reply_mode=mode or self._settings.session_reply_mode,
            topic=prepared.topic,
        )
        inputs, outlet = trio.open_memory_channel[turn.TurnInput](TURN_INPUTS_MAX)
        self._turn = _Turn(opening, row.row_id, inputs)
        self._showing += 1
        self._nursery.start_soon(self._show, opening, outlet, name=f"turn {turn_id}")
        return inputs.clone()

    def _open_own_turn(self, wish: lane.OpenOwnTurn) -> lane.OwnTurnOpened | lane.OwnTurnRefused:
        peer = self._peer
        if peer is None or peer.connection_id != wish.connection_id or self._draining:
            return lane.OwnTurnRefused(why="the session is leaving")
        if self._own_turn is not None:
            return lane.OwnTurnRefused(
                why=f"turn {self._own_turn.opening.turn_id} is open; end it first"
            )
        opening = own_turn_opening(wish, peer.alias, self._settings)
        inputs, outlet = trio.open_memory_channel[turn.TurnInput](TURN_INPUTS_MAX)
        self._own_turn = _Turn(opening, RowId(0), inputs)
        self._showing += 1
        self._nursery.start_soon(self._show, opening, outlet, name=f"turn {wish.turn_id}")
        return lane.OwnTurnOpened(turn=inputs.clone())

    async def _show(
        self, opening: turn.TurnOpening, outlet: trio.MemoryReceiveChannel[turn.TurnInput]
    ) -> None:
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
            return
        if self._turn is None or self._turn.opening.turn_id != turn_id:
            return
        if not self._turn.revoked:
            self._nursery.start_soon(self._close_row, self._turn.row_id)
        self._drop_turn()

    async def _close_row(self, row_id: RowId) -> None:
        await self._to.ownership_tx.send(ownership.RowAnswered(row_id=row_id))

    def _stop(self, stop: lane.StopTurn) -> lane.StopAnswer:
        # One stop word stops one turn: the lane's, else the session's own.
        running = next(
            (
                one
                for one in (self._turn, self._own_turn)
                if one is not None
                and not one.cancelled
                and stop.turn_id in (None, one.opening.turn_id)
                and stop.place in (None, one.opening.place)
            ),
            None,
        )
        if running is None:
            return lane.NothingRunning()
        opening = running.opening
        in_its_direct_chat = opening.chat_type == "p2p" and stop.chat_id == opening.chat_id
        may = stop.by == opening.sender_id or in_its_direct_chat
        if not (stop.by_admin or (may and opening.chat_type in stop.admitted_in)):
            return lane.NotAllowed()
        self._cancel(running, stop.reason)
        return lane.Stopped(alias=opening.alias, mode=running.mode)

    def _cancel(self, running: _Turn, reason: vocabulary.CancelReason) -> None:
        """Ask the proxy, show Stopped, start the clock: none waits for another."""
        if running.cancelled:
            return
        running.cancelled = True
        turn_id = running.opening.turn_id
        if self._peer is not None:
            offer(
                self._peer.link,
                link.CancelTurn(cancel=wire.Cancel(turn_id=turn_id, reason=reason)),
            )
        answered = reason == "user" and running.mode == "static"
        self._send_turn(running, turn.Stop(reason=reason, answered=answered))
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
        for row_id in list(self._marked):
            self._unmark(row_id)
        self._owe_end(None)
        if self._own_turn is not None:
            self._send_turn(self._own_turn, turn.SessionLost())
            self._turn_ended(self._own_turn.opening.turn_id)
        if self._turn is not None:
            self._send_turn(self._turn, turn.SessionLost())
            self._drop_turn()

    def _drop_turn(self) -> None:
        if self._turn is not None:
            self._turn.inputs.close()
            self._turn = None
            self._more = True

    def _send_turn(self, running: _Turn, message: turn.TurnInput) -> None:
        self._nursery.start_soon(self._send_input, running.inputs.clone(), message)

    @staticmethod
    async def _send_input(
        inputs: trio.MemorySendChannel[turn.TurnInput], message: turn.TurnInput
    ) -> None:
        with inputs:
            try:
                await inputs.send(message)
            except trio.BrokenResourceError:
                return  # it is final already
