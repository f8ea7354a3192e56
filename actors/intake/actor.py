"""Intake: from a committed event to a row a session may be given.

One per account. It owns the order of stored events: they are taken one by one in
order of receipt, so per-chat order holds by itself. The gate decides who may speak;
a stop word or command is the daemon's own; everything else becomes ready in
the journal, and ownership is notified.

At start, and when the bot has learnt who it is, it takes what is still ``received`` in
the journal, a page at a time, and serves meanwhile. Every step can be repeated without harm.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import structlog
import trio

from actors.intake.identity import learn_bot
from actors.intake.parts import parts_of
from actors.intake.peers import Peers
from actors.intake.rows import store
from actors.intake.settings import IntakeSettings
from actors.intake.taking import Taking
from actors.messages import intake, journal, ownership
from protocol.ids import (
    RowId,
)
from protocol.routing.delivery import StoredEvent

PAGE_ROWS: Final = 200
BATCH_EVENTS_MAX: Final = 64
"""Events taken before what is ready among them is committed: a fraction of a commit's time."""

log = structlog.get_logger()


async def run(
    settings: IntakeSettings,
    inbox: trio.MemoryReceiveChannel[intake.IntakeMessage],
    peers: Peers,
    *,
    now_ms: Callable[[], int],
    rng: random.Random,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Started at once: what the journal still holds is read beside."""
    with inbox:
        async with trio.open_nursery() as nursery:
            actor = _Intake(settings, peers, nursery, now_ms)
            nursery.start_soon(learn_bot, peers, rng)
            task_status.started()
            await actor.serve(inbox)


class _Intake:
    def __init__(
        self,
        settings: IntakeSettings,
        peers: Peers,
        nursery: trio.Nursery,
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._to = peers
        self._nursery = nursery
        self._parts = parts_of(settings, peers, nursery, now_ms)
        self._reading = self._parts.reading
        self._prompts = self._parts.prompts
        self._taking = Taking(peers, self._parts, nursery, now_ms)

    async def serve(self, inbox: trio.MemoryReceiveChannel[intake.IntakeMessage]) -> None:
        """Take what arrives; in between, page by page, what an earlier run left."""
        await self._to.ownership_tx.send(ownership.IntakeStarted())
        await self._parts.pairing.load()
        while True:
            if self._reading.reads:
                await self._handle_waiting(inbox)
                await self._read_page()
            else:
                await self._handle_next(inbox)
                await self._handle_waiting(inbox)
            if not self._reading.reads:  # else a message that joins may still be on the next page
                await self._prompts.close_due()
            await self._prompts.make_ready()
            if not self._parts.full:
                self._reading.resume()

    async def _handle_next(self, inbox: trio.MemoryReceiveChannel[intake.IntakeMessage]) -> None:
        """Handle the next message; return without one when a window closes first."""
        due_s = self._prompts.window_due_s
        if due_s is None:
            await self.handle(await inbox.receive())
            return
        message: intake.IntakeMessage | None = None
        with trio.move_on_at(due_s):
            message = await inbox.receive()
        if message is not None:
            await self.handle(message)

    async def _handle_waiting(self, inbox: trio.MemoryReceiveChannel[intake.IntakeMessage]) -> None:
        """Take what else has arrived, so that the prompts among it become ready together."""
        for _ in range(BATCH_EVENTS_MAX):
            try:
                message = inbox.receive_nowait()
            except trio.WouldBlock:
                return
            await self.handle(message)

    async def handle(self, message: intake.IntakeMessage) -> None:
        match message:
            case StoredEvent():
                if self._reading.arrive(message.row_id):
                    await self._taking.take(message)
            case intake.PressArrived():
                # Beside the loop: a press is answered in time whatever waits here.
                self._nursery.start_soon(self._parts.presses.press, message)
            case intake.BotKnown(open_id=open_id):
                self._taking.bot = open_id
                self._reading.start_pass()
            case intake.KindLearned():
                self._parts.topics.learned(message)
                self._reading.start_pass()
            case intake.Recover():
                self._reading.start_pass()
            case journal.PreparedRow():
                await self._prompts.fetched(message)
            case intake.RefusalSent():
                if await self._prompts.refused(message):
                    self._reading.start_pass()
            case intake.CommandDone(row_id=row_id, place=place):
                await self._prompts.lift_barrier(place, row_id)
            case intake.CommandClosed():
                self._parts.control.closed(message)
            case intake.MarkPlaced():
                self._parts.marks.was_put(message)
            case intake.WaitsNoLonger(message_id=message_id):
                self._parts.marks.clear(message_id)
            case intake.CodeSent() | intake.CodeNamed():
                await self._parts.pairing.code_sent(message)
            case intake.ReportAccess():
                await self._parts.pairing.report()
            case intake.ListPairings() | intake.ApprovePairing() | intake.RevokePairing():
                await self._parts.pairing.operate(message)

    async def _read_page(self) -> None:
        """Take the next rows still ``received``, as far as they can be held here."""
        page = await self._unprepared(self._reading.after)
        for event in page:
            if self._parts.full:
                self._reading.pause()
                break
            await self._taking.take(event, arrived=False)
            self._reading.read(event.row_id)
        self._reading.page_done(was_last=len(page) < PAGE_ROWS)

    async def _unprepared(self, after: RowId) -> tuple[StoredEvent, ...]:
        page: tuple[StoredEvent, ...] | journal.Failed = await store(
            self._to.journal_tx,
            lambda reply: journal.Unprepared(
                account=self._settings.account, after_row=after, limit=PAGE_ROWS, reply=reply
            ),
        )
        assert not isinstance(page, journal.Failed)
        return page
