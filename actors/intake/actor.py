"""Intake: from a committed event to a row a session may be given.

One per account. It owns the order of inbound events: they are taken one by one in
order of receipt, so per-chat order holds by itself. The gate decides who may speak;
a stop word or command is the daemon's own; everything else becomes ready in
the journal, and ownership is notified.

At start, and when the bot has learnt who it is, it takes what is still ``received`` in
the journal, a page at a time, and serves meanwhile. Every step can be repeated without harm.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
import trio

from actors.intake import gate
from actors.intake.answers import Answer, Answers
from actors.intake.attachments import Fetcher
from actors.intake.commands import Commands
from actors.intake.control import Control, Job
from actors.intake.identity import learn_bot
from actors.intake.marks import WaitingMarks
from actors.intake.pairing import Pairing
from actors.intake.peers import Peers
from actors.intake.presses import Presses
from actors.intake.prompts import Prompts
from actors.intake.reading import Reading
from actors.intake.rows import close_row, store
from actors.intake.settings import IntakeSettings
from actors.intake.stop import Stopper
from actors.intake.topics import Topics
from actors.kit.mailbox import offer
from actors.messages import intake, journal, lane, ownership
from protocol.errors import RemoteProtocolError
from protocol.ids import (
    ChatId,
    MessageId,
    OpenId,
    RowId,
)
from protocol.platform.comments import Place, place_of
from protocol.platform.content import read_content
from protocol.platform.events import (
    CommentAdded,
    MessageReceived,
    decode_comment,
    decode_message,
    decode_recalled,
)
from protocol.routing import access, command, history
from protocol.routing.delivery import Inbound, RowState

PAGE_ROWS: Final = 200
BATCH_EVENTS_MAX: Final = 64
"""Events taken before what is ready among them is committed: a fraction of a commit's time."""
HELD_MS_MAX: Final = 10 * 60 * 1_000
"""How long a group's message waits for the bot to know itself."""
PRESS_MS_MAX: Final = 10_000
"""A press that was not answered by then never will be."""

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
        self._answers = Answers(nursery, peers.gateway_tx, settings.language)
        self._pairing = Pairing(
            settings.account,
            settings.policy,
            peers,
            self._answers,
            now_ms=now_ms,
            mint=settings.mint_code,
        )
        self._stopper = Stopper(peers, self._answers, lambda: self._pairing.policy)
        self._presses = Presses(peers, self._stopper, lambda: self._pairing.policy, nursery, now_ms)
        self._marks = WaitingMarks(peers, self._answers, nursery)
        self._commands = Commands(
            peers,
            self._stopper,
            self._marks,
            agents=settings.agents,
            reply_mode=settings.session_reply_mode,
            now_ms=now_ms,
        )
        self._control = Control(peers, self._answers, nursery, now_ms)
        self._reading = Reading()
        self._topics = Topics(peers, nursery, everywhere=settings.topic_sessions, now_ms=now_ms)
        self._nursery = nursery
        self._now_ms = now_ms
        self._bot: OpenId | None = None
        self._refusals: Counter[str] = Counter()
        self._prompts = Prompts(
            settings.account,
            peers,
            self._answers,
            self._marks,
            agents=settings.agents,
            fetcher=Fetcher(peers, settings.attachments),
            nursery=nursery,
            now_ms=now_ms,
            is_admin=self._stopper.is_admin,
        )

    async def serve(self, inbox: trio.MemoryReceiveChannel[intake.IntakeMessage]) -> None:
        """Take what arrives; in between, page by page, what an earlier run left."""
        await self._to.ownership_tx.send(ownership.IntakeStarted())
        await self._pairing.load()
        while True:
            if self._reading.reads:
                await self._handle_waiting(inbox)
                await self._read_page()
            else:
                await self.handle(await inbox.receive())
                await self._handle_waiting(inbox)
            await self._prompts.make_ready()
            if not self._full:
                self._reading.resume()

    @property
    def _full(self) -> bool:
        """Whether one more row has to stay in the journal until some here are through."""
        return self._prompts.full or self._control.full

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
            case intake.Arrived(inbound=inbound):
                if self._reading.arrive(inbound.row_id):
                    await self._take(inbound)
            case intake.CardAction():
                # Beside the loop: a press is answered in time whatever waits here.
                self._nursery.start_soon(self._presses.press, message)
            case intake.BotKnown(open_id=open_id):
                self._bot = open_id
                self._reading.start_pass()
            case intake.KindLearned():
                self._topics.learned(message)
                self._reading.start_pass()
            case intake.Recover():
                self._reading.start_pass()
            case intake.ContentFetched():
                await self._prompts.completed(message)
            case intake.RefusalSent():
                if await self._prompts.refused(message):
                    self._reading.start_pass()
            case intake.CommandDone(row_id=row_id, place=place):
                await self._prompts.lift_barrier(place, row_id)
            case intake.CommandClosed():
                self._control.closed(message)
            case intake.MarkPlaced():
                self._marks.was_put(message)
            case intake.TurnBegan(message_id=message_id):
                self._marks.clear(message_id)
            case intake.CodeSent():
                await self._pairing.code_sent(message)
            case intake.ReportAccess():
                await self._pairing.report()
            case intake.ListPairings() | intake.ApprovePairing() | intake.RevokePairing():
                await self._pairing.operate(message)

    async def _read_page(self) -> None:
        """Take the next rows still ``received``, as far as they can be held here."""
        page = await self._unprepared(self._reading.after)
        for inbound in page:
            if self._full:
                self._reading.pause()
                break
            await self._take(inbound, arrived=False)
            self._reading.read(inbound.row_id)
        self._reading.page_done(was_last=len(page) < PAGE_ROWS)

    async def _unprepared(self, after: RowId) -> tuple[Inbound, ...]:
        page: tuple[Inbound, ...] | journal.Failed = await store(
            self._to.journal_tx,
            lambda reply: journal.Unprepared(
                account=self._settings.account, after_row=after, limit=PAGE_ROWS, reply=reply
            ),
        )
        assert not isinstance(page, journal.Failed)
        return page

    async def _take(self, inbound: Inbound, *, arrived: bool = True) -> None:
        """Take one row. One that *arrived* while older ones are being read may be left to that."""
        if self._prompts.has(inbound.row_id) or self._control.has(inbound.row_id):
            return
        if arrived and not self._reading.behind and self._full:
            self._reading.start_pass()
            self._reading.pause()
        leaves = arrived and self._reading.behind
        try:
            match inbound.kind:
                case "message":
                    message = decode_message(inbound.payload)
                    await self._message(inbound, message, leaves=leaves)
                case "recalled":
                    await self._prompts.make_ready()
                    await self._recall(decode_recalled(inbound.payload).message_id)
                    await self._close(inbound.row_id, RowState.COMMAND, "recall")
                case "comment" if leaves:
                    return
                case "comment":
                    await self._comment(inbound, decode_comment(inbound.payload))
                case "card_action" if self._now_ms() - inbound.received_at_ms < PRESS_MS_MAX:
                    return  # it is on its way here
                case "card_action":
                    # Its three seconds are over: it was committed just before a crash.
                    await self._close(inbound.row_id, RowState.EXPIRED, "card action")
                case "other":
                    await self._close(inbound.row_id, RowState.COMMAND, "not acted upon")
        except RemoteProtocolError as unreadable:
            log.warning(
                "feishu.event.unreadable", event_id=inbound.event_id, reason=str(unreadable)
            )
            await self._close(inbound.row_id, RowState.REFUSED, str(unreadable)[:500])

    # ── messages ────────────────────────────────────────────────────────────

    async def _message(self, inbound: Inbound, message: MessageReceived, *, leaves: bool) -> None:
        content = read_content(message.message_type, message.content, message.mentions)
        wanted = gate.wanted(message, content, self._bot)
        if leaves and (isinstance(wanted, command.Prompt) or self._control.full):
            return
        if self._pairing.may_pair(message) and gate.is_pair(wanted):
            # Before the gate: who may let others in need not be let in.
            approve = partial(self._pairing.command, wanted.args)
            self._carry_out(inbound, message, "pair", approve)
            return
        match gate.decide(self._pairing.policy, message, self._bot):
            case access.Admitted():
                pass
            case access.Held(reason=reason):
                if self._now_ms() - inbound.received_at_ms > HELD_MS_MAX:
                    await self._refuse(inbound, message, message.chat_id, reason)
                return
            case access.Dropped(reason=reason):
                await self._refuse(inbound, message, message.chat_id, reason)
                return
            case access.NeedsPairing(kind=kind):
                silence = self._pairing.show_code(message, kind, self._nursery)
                why = silence or f"{kind} pairing required"
                await self._refuse(inbound, message, message.chat_id, why)
                return
        placed = self._topics.placed(message)
        if placed is None:
            return  # what its group is is being asked; the row is read again then
        message = placed
        if isinstance(wanted, command.Prompt):
            await self._prompts.take(inbound, message, gate.prompted(content, wanted))
            return
        await self._prompts.make_ready()  # what came before it stays before it
        if isinstance(wanted, command.StopWord):
            stop = partial(self._stopper.word, message, always_answer=False)
            self._carry_out(inbound, message, "stop", stop)
            return
        self._carry_out(
            inbound,
            message,
            wanted.name,
            partial(self._commands.run, message, wanted),
            repeatable=wanted.repeatable,
            # What starts may take long: prompts wait for it, commands don't.
            beside=wanted.name is command.Name.NEW,
        )

    def _carry_out(  # a command and how it is carried out
        self,
        inbound: Inbound,
        message: MessageReceived,
        what: str,
        work: Callable[[], Awaitable[Answer | None]],
        *,
        repeatable: bool = True,
        beside: bool = False,
    ) -> None:
        job = Job(
            row_id=inbound.row_id,
            place=self._to.place(message),
            chat_id=message.chat_id,
            message_id=message.message_id,
            what=what,
            work=work,
            repeatable=repeatable,
        )
        self._prompts.add_barrier(job.place, inbound.row_id)
        self._control.start(job, beside=beside)

    async def _comment(self, inbound: Inbound, comment: CommentAdded) -> None:
        """A comment of a document that mentions the bot: a direct message, to the gate."""
        place = Place(comment.file_type, comment.file_token, comment.comment_id)
        if not comment.mentions_bot or place_of(place.chat_id) is None:
            await self._close(inbound.row_id, RowState.COMMAND, "not acted upon")
            return
        match gate.decide_comment(self._pairing.policy, comment, place.chat_id, self._bot):
            case access.Admitted():
                await self._prompts.take_comment(inbound, comment)
            case access.Dropped(reason=reason) | access.Held(reason=reason):
                await self._refuse(inbound, comment, place.chat_id, reason)
            case access.NeedsPairing():  # no code can be shown to one person there
                await self._refuse(inbound, comment, place.chat_id, access.NOT_ON_ALLOWLIST)

    async def _recall(self, message_id: MessageId) -> None:
        """A prompt that waits never starts; a turn that runs is stopped."""
        answer: journal.Done | journal.Failed = await store(
            self._to.journal_tx,
            lambda reply: journal.DropMessage(
                account=self._settings.account,
                message_key=message_id,
                note=history.RECALLED,
                at_ms=self._now_ms(),
                reply=reply,
            ),
        )
        assert isinstance(answer, journal.Done)
        self._marks.clear(message_id)
        if not answer.changed:
            await self._to.lanes_tx.send(lane.MessageRecalled(message_id=message_id))

    async def _refuse(
        self,
        inbound: Inbound,
        source: MessageReceived | CommentAdded,
        chat_id: ChatId,
        reason: str,
    ) -> None:
        log.info(
            "feishu.message.refused",
            account=self._settings.account,
            chat=chat_id,
            event_id=inbound.event_id,
            sender=source.sender_id,
            reason=reason,
        )
        self._refusals[reason] += 1
        offer(  # dropped when full: the next one has all of it
            self._to.ownership_tx,
            ownership.Refusals(account=self._settings.account, by_reason=dict(self._refusals)),
        )
        await self._close(inbound.row_id, RowState.REFUSED, reason, chat_id)

    async def _close(
        self, row_id: RowId, state: RowState, note: str | None, chat_id: ChatId | None = None
    ) -> None:
        await close_row(self._to.journal_tx, row_id, state, note, self._now_ms(), chat_id=chat_id)
