"""Ownership: the single writer of the lease, and of which row is with which connection.

It owns the lease (owner, dispatcher, grant, epoch, bindings), the roster of live
sessions, and the rows that are offered and not acked. It decides with
``protocol.routing.lease``, commits to the journal, and only then answers and notifies lanes.

Lanes wait for ownership and never the other way round, so what they are sent goes out
beside the loop, merged for each session. The loop waits for the journal only where a
decision depends on the commit: for a change of the lease.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from actors.kit.mailbox import offer, taken
from actors.messages import journal, lane, link, ownership
from actors.ownership import admission
from actors.ownership.choices import Choices
from actors.ownership.journal_client import JournalClient
from actors.ownership.lanes import Lanes
from actors.ownership.offering import Offers
from actors.ownership.people import People
from actors.ownership.rows import Rows
from actors.ownership.sessionless import Sessionless
from actors.ownership.sessions import Sessions
from actors.ownership.status import OwnershipSettings, StatusBoard
from protocol.ids import ConnectionId, PlaceKey, SessionId
from protocol.routing import channel_tools, lease, targets
from protocol.routing.roster import KnownSession
from protocol.wire.vocabulary import NOT_REGISTERED

NOTHING_MOVED: Final = targets.Moved()
RETRY_AFTER_MS: Final = 1_000

LOAD_AGAIN_S: Final = 1.0

STEP_S: Final = 0.01

log = structlog.get_logger()


async def run(
    settings: OwnershipSettings,
    inbox: trio.MemoryReceiveChannel[ownership.OwnershipMessage],
    journal_tx: trio.MemorySendChannel[journal.JournalMessage],
    lanes_tx: trio.MemorySendChannel[lane.LaneMessage],
    *,
    now_ms: Callable[[], int],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Started once the lease stands as the journal has it.

    A journal that is slow, or fails, is asked again each second: nothing may be delivered
    without the lease, and the supervisor's limit ends the waiting.
    """
    with inbox:
        async with trio.open_nursery() as nursery:
            actor = _Ownership(settings, journal_tx, lanes_tx, now_ms, nursery)
            while (unreadable := await actor.load()) is not None:
                log.warning("ownership.waits_for_journal", reason=unreadable)
                await trio.sleep(LOAD_AGAIN_S)
            task_status.started()
            await actor.serve(inbox)


class _Ownership:
    def __init__(
        self,
        settings: OwnershipSettings,
        journal_tx: trio.MemorySendChannel[journal.JournalMessage],
        lanes_tx: trio.MemorySendChannel[lane.LaneMessage],
        now_ms: Callable[[], int],
        nursery: trio.Nursery,
    ) -> None:
        self._nursery = nursery
        self._journal = JournalClient(journal_tx, nursery)
        self._status = StatusBoard(settings, self._journal)
        self._rows = Rows(self._journal, now_ms)
        self._sessions = Sessions(self._journal, now_ms)
        self._people = People(self._sessions, lambda: self._state, self._change)
        self._lanes = Lanes(lanes_tx)
        self._offers = Offers(self._rows, self._sessions, self._lanes, lambda: self._state)
        self._now_ms = now_ms
        self._state = lease.OwnershipState()
        self._choices = Choices(self._sessions)
        self._links: dict[ConnectionId, trio.MemorySendChannel[link.LinkMessage]] = {}
        self._sessionless = Sessionless()

    async def load(self) -> str | None:
        """Take the lease and the sessions from the journal; return why that failed.

        All of it is asked at once: one batch, where several would take a successor's time.
        """
        failures: list[str | None] = []

        async def take(part: Callable[[], Awaitable[str | None]]) -> None:
            failures.append(await part())

        async with trio.open_nursery() as nursery:
            for part in (self._load_lease, self._sessions.load, self._rows.release_all):
                nursery.start_soon(take, part)
        return next(filter(None, failures), None)

    async def _load_lease(self) -> str | None:
        answer: lease.LeaseState | journal.Failed = await self._journal.ask(
            lambda reply: journal.LoadLease(reply=reply)
        )
        if isinstance(answer, journal.Failed):
            return answer.reason
        self._state = lease.OwnershipState(lease=answer)
        return None

    async def serve(self, inbox: trio.MemoryReceiveChannel[ownership.OwnershipMessage]) -> None:
        self._nursery.start_soon(self._lanes.run)
        self._nursery.start_soon(self._offers.sweep)
        async for first in inbox:
            # Several in one step of the loop: when a thousand sessions come back at once, each
            # step has much else to do, and who asks for status waits for all that came before.
            until = trio.current_time() + STEP_S
            message: ownership.OwnershipMessage | None = first
            while message is not None:
                await self._handle(message)
                message = taken(inbox) if trio.current_time() < until else None

    async def _handle(self, message: ownership.OwnershipMessage) -> None:
        match message:
            case ownership.RegisterSession():
                with message.reply:
                    await self._register(message)
            case ownership.ConnectionEnded():
                await self._disconnected(message.connection_id)
            case ownership.LinksStarted():
                for connection_id in (*self._links,):
                    await self._disconnected(connection_id)
            case ownership.CallTool(name=channel_tools.STATUS):
                # Beside the loop: the journal's part of it is worth no wait of others.
                self._nursery.start_soon(self._answer_status, message, self._state)
            case ownership.CallTool():
                with message.reply:
                    if not message.reply.abandoned:
                        message.reply.send(await self._call_tool(message))
            case ownership.RowReady():
                self._wake_target(message.place)
                if message.dispatched_to is not None:
                    self._wake(message.dispatched_to)
            case ownership.IntakeStarted():
                self._wake(targets.effective_target(self._state))
                for session_id in set(self._state.lease.bindings.values()):
                    self._wake(session_id)
            case ownership.Next():
                # Beside the loop: offers of many sessions share one commit.
                self._nursery.start_soon(self._offers.offer_next, message)
            case ownership.RowAcked(connection_id=connection_id, ack=ack):
                if await self._rows.acked(connection_id, ack):
                    session = lease.by_connection(self._state, connection_id)
                    self._wake(session.session_id if session else None)
            case ownership.RowAnswered():
                self._sessions.ended(message.row_id)
                if message.by is not None:
                    self._lanes.row_closed(message.by, message.row_id)
                await self._rows.answered(message.row_id)
            case ownership.ConnectionState() | ownership.Refusals() | ownership.Unresponsive():
                self._status.note(message)
            case (
                ownership.OptionsOffered()
                | ownership.FindOptions()
                | ownership.PassChoice()
                | ownership.PassAnswer()
                | ownership.ChoiceMade()
                | ownership.ConversationReported()
                | ownership.PassResume()
            ):
                await self._choices.handle(message, self._state, self._links)
            case ownership.Leaving():
                with message.reply:
                    self._leave()
                    message.reply.send(None)
            case _:
                await self._people.handle(message)

    # ── sessions come and go ────────────────────────────────────────────────

    async def _register(self, message: ownership.RegisterSession) -> None:
        if message.reply.abandoned:
            return  # its link has given up, and asked its proxy to connect again
        refusal = admission.refusal(
            message,
            self._state,
            self._sessions.role(message.session_id),
            leaving=self._offers.leaving,
        )
        if refusal is not None:
            message.reply.send(refusal)
            return
        if admission.is_sessionless(message):
            self._sessionless.came(message, self._now_ms())
            self._links[message.connection_id] = message.link
            message.reply.send(
                ownership.Admitted(alias=message.session_id, lease_epoch=self._state.lease.epoch)
            )
            return
        alias = admission.alias(message, self._state)
        session = admission.session(message, alias, self._now_ms())
        new, replaced = lease.register(self._state, session)
        known, new_role = self._sessions.known(session)
        failure = await self._commit(new, session=known if new_role else None)
        if failure is not None:
            message.reply.send(
                ownership.NotAdmitted(
                    code="draining",
                    message=f"the lease could not be stored ({failure}); connect again",
                )
            )
            return
        if replaced is not None:
            await self._replace(replaced)
        await self._sessions.came(session, known, new)
        self._links[message.connection_id] = message.link
        self._rows.open(session.connection_id, session.session_id)
        # A link that gave up in this very moment still sends its end, after this.
        message.reply.send(admission.admitted(known, new.lease))
        log.info(
            "session.registered",
            session=session.session_id,
            role=session.role,
            alias=session.alias,
            connection=session.connection_id,
            pid=session.pid,
        )
        self._lanes.attach(
            lane.Attached(
                session_id=session.session_id,
                alias=session.alias,
                connection_id=session.connection_id,
                capabilities=message.capabilities,
                link=message.link,
            )
        )
        await self._follow(self._state, new)

    async def _replace(self, older: lease.Session) -> None:
        """A newer connection speaks for the session: close the older one."""
        await self._rows.release(older.connection_id)
        mailbox = self._links.pop(older.connection_id, None)
        if mailbox is not None:
            offer(mailbox, link.LeaveLink(reason="replaced"))
        self._lanes.detach(
            lane.Detached(session_id=older.session_id, connection_id=older.connection_id)
        )

    async def _disconnected(self, connection_id: ConnectionId) -> None:
        self._sessionless.left(connection_id)
        self._links.pop(connection_id, None)
        new, gone = lease.disconnect(self._state, connection_id)
        if gone is None:
            return
        released = await self._rows.release(connection_id)
        await self._sessions.left(gone.session_id)
        log.info(
            "session.lost",
            session=gone.session_id,
            alias=gone.alias,
            connection=connection_id,
        )
        self._lanes.detach(lane.Detached(session_id=gone.session_id, connection_id=connection_id))
        failure = await self._commit(new)
        if failure is not None:
            # Liveness is a fact: the roster moves on. Which dispatcher is current is
            # decided again, and stored, when the next one registers or reclaims.
            log.error("lease.not_stored", reason=failure)
            new = lease.OwnershipState(lease=self._state.lease, sessions=new.sessions)
        await self._follow(self._state, new)
        for row in released:
            self._wake(targets.row_target(self._state, row.dispatched_to))

    def _leave(self) -> None:
        self._offers.leaving = True
        for mailbox in self._links.values():
            offer(mailbox, link.LeaveLink(reason="shutdown", retry_after_ms=RETRY_AFTER_MS))

    # ── tools ───────────────────────────────────────────────────────────────

    async def _call_tool(self, call: ownership.CallTool) -> ownership.ToolAnswer:
        caller = self._caller(call)
        if caller is None:
            return ownership.ToolFailed(error=NOT_REGISTERED)
        if call.name not in channel_tools.TOOLS:
            return ownership.ToolFailed(error=f"Unknown tool: {call.name}")
        if caller.role == "observer":
            return ownership.ToolFailed(error=channel_tools.OBSERVER_ONLY_STATUS)
        try:
            new, text = channel_tools.call_tool(self._state, caller, call.name, call.args)
        except channel_tools.ToolError as refused:
            return ownership.ToolFailed(error=str(refused))
        moved = targets.moved_chats(self._state, new, all_of_them=True)
        failure = await self._commit(new, moved)
        if failure is not None:
            return ownership.ToolFailed(
                error=f"the lease could not be stored ({failure}); nothing has changed"
            )
        await self._follow(self._state, new, moved)
        return ownership.ToolDone(result=text)

    def _caller(self, call: ownership.CallTool) -> lease.Session | None:
        return lease.by_connection(self._state, call.connection_id) or self._sessionless.caller(
            call.connection_id, self._state
        )

    async def _answer_status(self, call: ownership.CallTool, state: lease.OwnershipState) -> None:
        with call.reply:
            if self._caller(call) is None:
                call.reply.send(ownership.ToolFailed(error=NOT_REGISTERED))
                return
            found = await self._status.describe(state, self._now_ms())
            call.reply.send(ownership.ToolDone(result=found))

    def _wake_target(self, place: PlaceKey) -> None:
        self._wake(targets.target_of(self._state, place))

    def _wake(self, session_id: SessionId | None) -> None:
        """Wake a lane that may be given something. A full one is woken by its next ack."""
        if session_id is None:
            return
        session = self._state.sessions.get(session_id)
        if session is None or not self._rows.is_full(session.connection_id):
            self._lanes.wake(session_id)

    async def _change(self, new: lease.OwnershipState, moved: targets.Moved) -> bool:
        """Let *new* stand, if it can be stored; return whether it does."""
        if await self._commit(new, moved) is not None:
            return False
        await self._follow(self._state, new, moved)
        return True

    # ── commit, then notify ───────────────────────────────────────────────────

    async def _commit(
        self,
        new: lease.OwnershipState,
        moved: targets.Moved = NOTHING_MOVED,
        session: KnownSession | None = None,
    ) -> str | None:
        """Store the lease if it changed, with *session*; return why it could not be stored."""
        if new.lease == self._state.lease and session is None:
            return None
        answer: journal.Done | journal.Failed = await self._journal.ask(
            lambda reply: journal.SaveLease(
                lease=new.lease, moved=moved, session=session, reply=reply
            )
        )
        if not isinstance(answer, journal.Failed):
            return None
        # Late is not never: should it be committed after all, what stood before comes after it.
        await self._journal.write_lease(self._state.lease, moved.taken_back(new))
        return answer.reason

    async def _follow(
        self,
        old: lease.OwnershipState,
        new: lease.OwnershipState,
        moved: targets.Moved = NOTHING_MOVED,
    ) -> None:
        """The state is stored: let rows in flight and waiting rows follow it."""
        self._state = new
        self._rows.move(moved, new.lease.bindings)
        if new.lease.owner != old.lease.owner:
            log.info(
                "lease.changed",
                owner=new.lease.owner,
                previous=old.lease.owner,
                epoch=new.lease.epoch,
            )
        if new.lease != old.lease:
            await self._revoke()
        # Whose rows may be more than before; a session that attaches looks by itself.
        target = targets.effective_target(new)
        if target != targets.effective_target(old):
            self._wake(target)
        for place in moved.places:
            self._wake_target(place)

    async def _revoke(self) -> None:
        """Take unacked rows from sessions they are no longer routed to."""
        for session in list(self._state.sessions.values()):
            lost = tuple(
                row
                for row in self._rows.held(session.connection_id)
                if targets.row_target(self._state, row.dispatched_to) != session.session_id
            )
            if not lost:
                continue
            await self._rows.give_back(session.connection_id, lost)
            for row in lost:
                self._lanes.revoke(session.session_id, row.row_id)
                self._wake(targets.row_target(self._state, row.dispatched_to))
