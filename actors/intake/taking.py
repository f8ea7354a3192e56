"""What becomes of one row: through the gate to a command, a prompt, a recall or a refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
import trio

from actors.intake import gate
from actors.intake.answers import ChatAnswer, ShownByCard
from actors.intake.control import Job
from actors.intake.parts import Parts
from actors.intake.peers import Peers
from actors.intake.rows import close_row, store
from actors.kit.mailbox import offer
from actors.messages import intake, journal, lane, ownership
from protocol.errors import RemoteProtocolError
from protocol.ids import ChatId, MessageId, OpenId, RowId
from protocol.platform.comments import CommentPlace, place_of
from protocol.platform.content import read_content
from protocol.platform.events import (
    CommentAdded,
    MessageReceived,
    decode_comment,
    decode_message,
    decode_recalled,
)
from protocol.platform.prompts import of_message
from protocol.routing import access, command, history, joining
from protocol.routing.delivery import RowState, StoredEvent

HELD_MS_MAX: Final = 10 * 60 * 1_000
"""How long a group's message waits for the bot to know itself."""
PRESS_MS_MAX: Final = 10_000
"""A press that was not answered by then never will be."""

log = structlog.get_logger()


class Taking:
    """Takes rows one by one, in order of receipt. Part of the intake."""

    def __init__(
        self, peers: Peers, parts: Parts, nursery: trio.Nursery, now_ms: Callable[[], int]
    ) -> None:
        self._to = peers
        self._parts = parts
        self._nursery = nursery
        self._now_ms = now_ms
        self._began_ms = now_ms()
        self._refusals: Counter[str] = Counter()
        self._reads_again = False
        self.bot: OpenId | None = None
        """Who the bot is, once that is known."""

    async def take(self, event: StoredEvent, *, arrived: bool = True) -> None:
        """Take one row. One that *arrived* while older ones are being read may be left to that."""
        if self._parts.prompts.has(event.row_id) or self._parts.control.has(event.row_id):
            return
        if arrived and not self._parts.reading.is_catching_up and self._parts.full:
            self._parts.reading.start_pass()
            self._parts.reading.pause()
        leaves = arrived and self._parts.reading.is_catching_up
        try:
            match event.kind:
                case "message":
                    message = decode_message(event.payload)
                    await self._message(event, message, leaves=leaves)
                case "recalled":
                    await self._recall(decode_recalled(event.payload).message_id)
                    await self._close(event.row_id, RowState.COMMAND, "recall")
                case "comment" if leaves:
                    return
                case "comment":
                    await self._comment(event, decode_comment(event.payload))
                case "card_action" if self._now_ms() - event.received_at_ms < PRESS_MS_MAX:
                    # It is on its way here, unless its connection has given it up.
                    self._read_again_later()
                case "card_action":
                    # Its three seconds are over: it was committed just before a crash.
                    await self._close(event.row_id, RowState.EXPIRED, "card action")
                case "other":
                    await self._close(event.row_id, RowState.COMMAND, "not acted upon")
        except RemoteProtocolError as unreadable:
            log.warning("feishu.event.unreadable", event_id=event.event_id, reason=str(unreadable))
            await self._close(event.row_id, RowState.REFUSED, str(unreadable)[:500])

    def _read_again_later(self) -> None:
        if not self._reads_again:
            self._reads_again = True
            self._nursery.start_soon(self._read_again)

    async def _read_again(self) -> None:
        await trio.sleep(PRESS_MS_MAX / 1_000)
        self._reads_again = False
        await self._to.intake_tx.send(intake.Recover())

    # ── messages ────────────────────────────────────────────────────────────

    async def _message(self, event: StoredEvent, message: MessageReceived, *, leaves: bool) -> None:
        content = read_content(message.message_type, message.content, message.mentions)
        wanted = gate.wanted(message, content, self.bot)
        if leaves and (isinstance(wanted, command.PromptText) or self._parts.control.full):
            return
        if self._parts.pairing.may_pair(message) and gate.is_pair(wanted):
            # Before the gate: who may let others in need not be let in.
            approve = partial(self._parts.pairing.command, wanted.args)
            self._carry_out(event, message, "pair", approve)
            return
        match gate.decide(self._parts.pairing.policy, message, self.bot):
            case access.Allowed():
                pass
            case access.Undecided(reason=reason):
                # Of this run: an earlier one, or another node, had a clock of its own.
                since_ms = max(event.received_at_ms, self._began_ms)
                if self._now_ms() - since_ms > HELD_MS_MAX:
                    await self._refuse(event, message, message.chat_id, reason)
                return
            case access.Dropped(reason=reason):
                await self._refuse(event, message, message.chat_id, reason)
                return
            case access.NeedsPairing(kind=kind):
                silence = self._parts.pairing.show_code(message, kind, self._nursery)
                why = silence or f"{kind} pairing required"
                await self._refuse(event, message, message.chat_id, why)
                return
        placed = self._parts.topics.placed(message)
        if placed is None:
            return  # what its group is is being asked; the row is read again then
        message = placed
        if isinstance(wanted, command.PromptText):
            if self._parts.topic_agents.wanted(message):
                place = self._to.place(message)
                self._parts.prompts.add_barrier(place, event.row_id, moves=True)
                self._parts.topic_agents.start(event.row_id, message)
            by_admin = self._parts.stopper.is_admin(message.sender_id)
            given = gate.prompted(message, content, wanted, self.bot)
            prompt = of_message(message, given, by_admin=by_admin)
            await self._parts.prompts.take(event, message, prompt)
            return
        await self._parts.prompts.make_ready()  # what came before it stays before it
        if isinstance(wanted, command.StopWord):
            stop = partial(self._parts.stopper.word, message)
            self._carry_out(event, message, "stop", stop)
            return
        after_prompt = self._parts.prompts.holds(self._to.place(message))
        self._carry_out(
            event,
            message,
            wanted.name,
            partial(self._parts.commands.run, message, wanted, after_prompt=after_prompt),
            wanted=wanted,
        )

    def _carry_out(  # a command and how it is carried out
        self,
        event: StoredEvent,
        message: MessageReceived,
        what: str,
        work: Callable[[], Awaitable[ChatAnswer | ShownByCard]],
        *,
        wanted: command.Command | None = None,
    ) -> None:
        job = Job(
            row_id=event.row_id,
            place=self._to.place(message),
            chat_id=message.chat_id,
            message_id=message.message_id,
            topic=message.topic,
            what=what,
            work=work,
            repeatable=wanted is None or wanted.repeatable,
        )
        moves = wanted is not None and joining.ends(wanted)
        self._parts.prompts.add_barrier(job.place, event.row_id, moves=moves)
        self._parts.control.start(job, beside=wanted is not None and wanted.beside)

    async def _comment(self, event: StoredEvent, comment: CommentAdded) -> None:
        """A comment of a document that mentions the bot: a direct message, to the gate."""
        place = CommentPlace(comment.file_type, comment.file_token, comment.comment_id)
        if not comment.mentions_bot or place_of(place.chat_id) is None:
            await self._close(event.row_id, RowState.COMMAND, "not acted upon")
            return
        match gate.decide_comment(self._parts.pairing.policy, comment, place.chat_id, self.bot):
            case access.Allowed():
                await self._parts.prompts.take_comment(event, comment)
            case access.Dropped(reason=reason) | access.Undecided(reason=reason):
                await self._refuse(event, comment, place.chat_id, reason)
            case access.NeedsPairing():  # no code can be shown to one person there
                await self._refuse(event, comment, place.chat_id, access.NOT_ON_ALLOWLIST)

    async def _recall(self, message_id: MessageId) -> None:
        """A prompt that waits never starts; a turn that runs is stopped."""
        answer: journal.Done | journal.Failed = await store(
            self._to.journal_tx,
            lambda reply: journal.DropMessage(
                account=self._to.account,
                message_key=message_id,
                note=history.RECALLED,
                at_ms=self._now_ms(),
                reply=reply,
            ),
        )
        assert isinstance(answer, journal.Done)
        self._parts.marks.clear(message_id)
        await self._parts.prompts.leave_out(message_id)
        if not answer.changed:
            await self._to.lanes_tx.send(lane.StopRecalled(message_id=message_id))

    async def _refuse(
        self,
        event: StoredEvent,
        source: MessageReceived | CommentAdded,
        chat_id: ChatId,
        reason: str,
    ) -> None:
        log.info(
            "feishu.message.refused",
            account=self._to.account,
            chat=chat_id,
            message=source.message_id if isinstance(source, MessageReceived) else None,
            event_id=event.event_id,
            sender=source.sender_id,
            reason=reason,
        )
        self._refusals[reason] += 1
        offer(  # dropped when full: the next one has all of it
            self._to.ownership_tx,
            ownership.Refusals(account=self._to.account, by_reason=dict(self._refusals)),
        )
        await self._close(event.row_id, RowState.REFUSED, reason, chat_id)

    async def _close(
        self, row_id: RowId, state: RowState, note: str | None, chat_id: ChatId | None = None
    ) -> None:
        await close_row(self._to.journal_tx, row_id, state, note, self._now_ms(), chat_id=chat_id)
