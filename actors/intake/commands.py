"""Commands in a chat: each is answered by one text, at once, whatever the sessions do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from actors.intake import doctor
from actors.intake.agents import Agents
from actors.intake.answers import ChatAnswer
from actors.intake.choosing import KINDS, Choosing
from actors.intake.marks import WaitingMarks
from actors.intake.peers import COMMAND_WITHIN_S, Peers
from actors.intake.resuming import Resuming
from actors.intake.rows import store
from actors.intake.stop import Stopper
from actors.kit.clock import local_clock
from actors.kit.mailbox import offer
from actors.messages import intake, journal, ownership
from protocol.ids import ChatId, PlaceKey, RowId, SessionId
from protocol.platform.events import MessageReceived
from protocol.quoted import quoted
from protocol.routing import history, roster
from protocol.routing.command import Command, Name
from protocol.routing.roster import ReplyMode, SessionView
from protocol.strings import Text, about_agents, in_chat

QUEUE_LISTED_MAX: Final = 50
EXCERPT_CHARACTERS: Final = 60

log = structlog.get_logger()


class Commands:
    """Carries out what a chat asks of the daemon itself."""

    def __init__(  # the other parts of the intake
        self,
        peers: Peers,
        stopper: Stopper,
        marks: WaitingMarks,
        agents: Agents,
        *,
        reply_mode: ReplyMode,
        now_ms: Callable[[], int],
    ) -> None:
        self._to = peers
        self._stopper = stopper
        self._marks = marks
        self._agents = agents
        self._choosing = Choosing(peers, stopper)
        self._resuming = Resuming(peers, stopper)
        self._reply_mode = reply_mode
        self._now_ms = now_ms

    async def run(
        self, message: MessageReceived, command: Command, *, after_prompt: bool
    ) -> ChatAnswer:
        """Do it, and return the answer. ``/pair`` of an admin is carried out before the gate.

        *after_prompt*: a prompt that came before it is not on its way to its session yet.
        """
        match command.name:
            case Name.CANCEL if not command.args:
                return await self._stopper.command(message)
            case name if name is not Name.CANCEL and self._stopper.is_stranger(message):
                return in_chat.NOT_FOR_STRANGERS
            case Name.HELP:
                return in_chat.HELP
            case Name.PAIR:
                return in_chat.PAIR_NOT_HERE
        state = await self._to.look_up(self._to.place(message))
        if state is None:
            return in_chat.NOT_STORED
        if command.name is Name.RESUME:
            return await self._resuming.resume(
                message, state, command.args, after_prompt=after_prompt
            )
        return await self._do(message, command, state)

    async def _do(
        self, message: MessageReceived, command: Command, state: ownership.ChatState
    ) -> ChatAnswer:
        match command.name:
            case Name.SESSIONS:
                return roster.listing(state.sessions, state.current)
            case Name.USE:
                return await self._use(self._to.place(message), command.args, state)
            case Name.CANCEL:
                found = roster.find(" ".join(command.args), state.sessions)
                if isinstance(found, Text):
                    return found
                known = found.session
                return await self._stopper.session(message, known.session_id, known.alias)
            case Name.STATUS:
                return await self._status(state)
            case Name.REPLYMODE:
                return await self._set_reply_mode(command.args, state)
            case Name.QUEUE:
                return await self._queue(message, command.args, state)
            case Name.MODE | Name.MODEL | Name.EFFORT:
                return await self._choosing.choose(
                    KINDS[command.name],
                    _view(state, state.current),
                    " ".join(command.args),
                    message,
                )
            case Name.COMMANDS:
                return await self._choosing.commands(_view(state, state.current))
            case Name.WHY:
                return await self._why(message, state)
            case Name.DOCTOR if not self._stopper.is_admin(message.sender_id):
                return in_chat.DOCTOR_NOT_ALLOWED
            case Name.DOCTOR:
                return await doctor.examine(self._to, state, self._now_ms)
            case Name.NEW if message.topic is not None:
                # For whoever may write in the topic; these are counted apart.
                return await self._agents.new(message, command.args)
            case Name.NEW | Name.CLOSE if not self._stopper.is_admin(message.sender_id):
                return about_agents.AGENT_NOT_ALLOWED
            case Name.NEW:
                return await self._agents.new(message, command.args)
            case Name.CLOSE:
                return await self._agents.close(command.args, state)
        raise AssertionError(command.name)

    # ── /use ────────────────────────────────────────────────────────────────

    async def _use(
        self, place: PlaceKey, args: tuple[str, ...], state: ownership.ChatState
    ) -> Text:
        if not args:
            return in_chat.USE_USAGE
        query = " ".join(args)
        wanted = _view(state, state.unbound) if query == "-" else roster.find(query, state.sessions)
        if isinstance(wanted, Text):
            return wanted
        bound_to = wanted.session.session_id if wanted and query != "-" else None
        if not await self._to.own(
            lambda reply: ownership.Bind(place=place, session_id=bound_to, reply=reply)
        ):
            return in_chat.NOT_STORED
        alias = _alias(wanted)
        text = in_chat.SWITCHED.format(alias=alias, previous=_alias(_view(state, state.current)))
        if wanted is not None and (wanted.busy or wanted.has_own_turn):
            text = text.joined(in_chat.STILL_RUNNING.format(alias=alias))
        return text

    # ── /status ─────────────────────────────────────────────────────────────

    async def _status(self, state: ownership.ChatState) -> Text:
        current = _view(state, state.current)
        text = in_chat.STATUS_CHAT.format(alias=_alias(current))
        if current is not None and not current.live:
            text = text.joined(in_chat.SESSION_OFFLINE)
        if state.bound:
            text = text.joined(in_chat.STATUS_BOUND)
        text = text.joined(in_chat.STATUS_OWNER.format(alias=_alias(_view(state, state.owner))))
        text = text.joined(in_chat.STATUS_EPOCH.format(epoch=state.lease_epoch))
        queue: journal.QueueState | journal.Failed = await journal.ask_journal(
            self._to.journal_tx, lambda reply: journal.Queue(reply=reply), within_s=COMMAND_WITHIN_S
        )
        if isinstance(queue, journal.Failed):
            return text
        return text.joined(
            in_chat.STATUS_QUEUE.format(pending=queue.pending, in_flight=queue.in_flight)
        )

    # ── /replymode ──────────────────────────────────────────────────────────

    async def _set_reply_mode(self, args: tuple[str, ...], state: ownership.ChatState) -> Text:
        current = _view(state, state.current)
        if current is None:
            return in_chat.NO_CURRENT_SESSION
        if not args:
            mode = current.session.reply_mode or self._reply_mode
            return in_chat.REPLY_MODE.format(mode=mode)
        word = args[0].lower()
        wanted = roster.reply_mode(word)
        if len(args) > 1 or (wanted is None and word != "reset"):
            return in_chat.REPLY_MODE_USAGE
        if not await self._to.own(
            lambda reply: ownership.SetReplyMode(
                session_id=current.session.session_id, mode=wanted, reply=reply
            )
        ):
            return in_chat.NOT_STORED
        return in_chat.REPLY_MODE_SET.format(mode=wanted or self._reply_mode)

    # ── /queue ──────────────────────────────────────────────────────────────

    async def _queue(
        self, message: MessageReceived, args: tuple[str, ...], state: ownership.ChatState
    ) -> Text:
        waiting = await self._waiting(state)
        match [word.lower() for word in args]:
            case []:
                return _queue_list(message.chat_id, _view(state, state.current), waiting)
            case ["clear"]:
                mine = [row for row in waiting if self._may_drop(message, row)]
                dropped = await self._drop(mine)
                if waiting and not mine:
                    return in_chat.QUEUE_NOT_YOURS
                return (
                    in_chat.QUEUE_CLEARED.format(count=dropped) if dropped else in_chat.QUEUE_EMPTY
                )
            case ["drop", number] if number.isdecimal():
                at = int(number[:9])
                row = waiting[at - 1] if 1 <= at <= len(waiting) else None
                if row is None:
                    return in_chat.QUEUE_NO_SUCH.format(number=at)
                if not self._may_drop(message, row):
                    return in_chat.QUEUE_NOT_YOURS
                if not await self._drop([row]):
                    return in_chat.QUEUE_NO_SUCH.format(number=at)
                return in_chat.QUEUE_DROPPED.format(content=_excerpt(row.prompt.content))
        return in_chat.QUEUE_USAGE

    async def _waiting(self, state: ownership.ChatState) -> tuple[journal.WaitingRow, ...]:
        current = state.current
        if current is None:
            return ()
        answer: tuple[journal.WaitingRow, ...] | journal.Failed = await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.FindWaiting(
                session_id=current,
                takes_unbound=current == state.owner,
                limit=QUEUE_LISTED_MAX,
                reply=reply,
            ),
            within_s=COMMAND_WITHIN_S,
        )
        return () if isinstance(answer, journal.Failed) else answer

    # ── /why ────────────────────────────────────────────────────────────────

    async def _why(self, message: MessageReceived, state: ownership.ChatState) -> Text:
        found: history.MessageHistory | journal.Failed | None = await journal.ask_journal(
            self._to.journal_tx,
            lambda reply: journal.FindHistory(
                account=self._to.account,
                chat_id=message.chat_id,
                topic=message.topic,
                message_id=message.parent_id,
                reply=reply,
            ),
            within_s=COMMAND_WITHIN_S,
        )
        if isinstance(found, journal.Failed):
            return in_chat.WHY_NOT_READ
        if found is None:
            return in_chat.WHY_UNKNOWN
        shown = _view(state, found.session_id)
        return history.history_text(found, local_clock, away=shown is not None and not shown.live)

    def _may_drop(self, message: MessageReceived, row: journal.WaitingRow) -> bool:
        """As for a turn in flight: who sent it, anyone in its direct chat, or an admin."""
        prompt = row.prompt
        in_its_direct_chat = prompt.chat_type == "p2p" and prompt.chat_id == message.chat_id
        return (
            message.sender_id == prompt.sender_id
            or in_its_direct_chat
            or self._stopper.is_admin(message.sender_id)
        )

    async def _drop(self, rows: list[journal.WaitingRow]) -> int:
        """Take rows out of the queue; return how many of them still were in it."""
        if not rows:
            return 0
        wanted: tuple[RowId, ...] = tuple(row.row_id for row in rows)
        at_ms = self._now_ms()
        answer: tuple[RowId, ...] | journal.Failed = await store(
            self._to.journal_tx,
            lambda reply: journal.DropWaiting(
                row_ids=wanted, note=history.DROPPED_FROM_QUEUE, at_ms=at_ms, reply=reply
            ),
        )
        assert not isinstance(answer, journal.Failed)
        for row in rows:
            if row.row_id in answer:
                self._clear_mark(row)
        return len(answer)

    def _clear_mark(self, row: journal.WaitingRow) -> None:
        """Take the waiting mark off, which the intake of its own account has put."""
        message_id = row.prompt.message_id
        if row.account == self._to.account:
            self._marks.clear(message_id)
        elif row.account in self._to.intakes:
            offer(self._to.intakes[row.account], intake.WaitsNoLonger(message_id=message_id))


def _view(state: ownership.ChatState, session_id: SessionId | None) -> SessionView | None:
    return next((one for one in state.sessions if one.session.session_id == session_id), None)


def _alias(shown: SessionView | None) -> str | Text:
    return in_chat.NOBODY if shown is None else shown.session.alias


def _queue_list(
    chat_id: ChatId, current: SessionView | None, waiting: tuple[journal.WaitingRow, ...]
) -> Text:
    if not waiting:
        return in_chat.QUEUE_EMPTY
    text = in_chat.QUEUE.format(alias=_alias(current), count=len(waiting))
    for at, row in enumerate(waiting, 1):
        here = row.prompt.chat_id == chat_id
        shown = _excerpt(row.prompt.content)
        text = text.plus(f"\n{at}. ").joined(
            Text(shown, shown) if here else in_chat.QUEUE_OTHER_CHAT
        )
    return text


def _excerpt(content: str) -> str:
    return quoted(content, EXCERPT_CHARACTERS + 1)
