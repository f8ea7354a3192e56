"""Control lanes: commands and stop words of each place, carried out in order, beside prompts.

Part of the intake. A command is claimed in the journal before it acts, so that a row read
twice acts once; its answer is noted there before it is sent, and the row is closed only
when the answer is out. So whatever dies in between, the next run sends what is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
import trio

from actors.intake.answers import Answers, CardAnswer, ChatAnswer, ShownByCard
from actors.intake.peers import Peers
from actors.intake.rows import close_row, store
from actors.kit.mailbox import ActorGone, ask
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import intake, journal, lane
from protocol.ids import ChatId, MessageId, PlaceKey, RowId
from protocol.routing.delivery import RowState
from protocol.strings import Text, in_chat

COMMANDS_MAX: Final = 256
"""Commands not answered yet; past it they stay in the journal until these are."""
ANSWER_AGAIN_S: Final = 30.0
SHOWN_WITHIN_S: Final = 30.0
_SHOWN_TRIES: Final = Tries[bool | None](
    again_after_s=lambda shown, pause_s: pause_s if shown is None else None,
    pauses=Pauses(first_s=0.5, max_s=5.0),
    within_s=600.0,
)
"""A turn's end is tried for five minutes, and what follows a card as long."""

log = structlog.get_logger()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One command, and how it is carried out."""

    row_id: RowId
    place: PlaceKey
    chat_id: ChatId
    message_id: MessageId
    what: str
    """Distinguishes its answer from others to the same message."""
    work: Callable[[], Awaitable[ChatAnswer | ShownByCard]]
    """Does it, and returns the answer."""
    topic: str | None = None
    repeatable: bool = True
    """Whether doing it twice is the same as doing it once."""


class Control:
    """The commands of one account that are under way."""

    def __init__(
        self,
        peers: Peers,
        answers: Answers,
        nursery: trio.Nursery,
        now_ms: Callable[[], int],
    ) -> None:
        self._to = peers
        self._answers = answers
        self._nursery = nursery
        self._now_ms = now_ms
        self._lanes: dict[PlaceKey, deque[Job]] = {}
        self._open: set[RowId] = set()

    def has(self, row_id: RowId) -> bool:
        return row_id in self._open

    @property
    def full(self) -> bool:
        return len(self._open) >= COMMANDS_MAX

    def start(self, job: Job, *, beside: bool = False) -> None:
        """Carry it out after the place's earlier ones; *beside*: without waiting for them."""
        self._open.add(job.row_id)
        if beside:
            self._nursery.start_soon(self._carry_out, job)
            return
        waiting = self._lanes.get(job.place)
        if waiting is not None:
            waiting.append(job)
            return
        self._lanes[job.place] = deque([job])
        self._nursery.start_soon(self._run, job.place)

    def closed(self, message: intake.CommandClosed) -> None:
        self._open.discard(message.row_id)

    async def _run(self, place: PlaceKey) -> None:
        """Carry out what one place commands, until there is nothing left."""
        waiting = self._lanes[place]
        while waiting:
            await self._carry_out(waiting.popleft())
        # No checkpoint since it was found empty.
        del self._lanes[place]

    async def _carry_out(self, job: Job) -> None:
        claimed: journal.Claimed | journal.Failed | None = await store(
            self._to.journal_tx,
            lambda reply: journal.ClaimCommand(row_id=job.row_id, reply=reply),
        )
        assert not isinstance(claimed, journal.Failed)
        text: ChatAnswer | ShownByCard | None = None
        if claimed is not None and claimed.answer is not None:
            text = _noted(claimed.answer)
        elif claimed is not None:
            interrupted = not (claimed.first or job.repeatable)
            text = in_chat.COMMAND_INTERRUPTED if interrupted else await job.work()
            if not isinstance(text, ShownByCard):
                await self._note(job.row_id, text)
        await self._to.intake_tx.send(intake.CommandDone(row_id=job.row_id, place=job.place))
        self._nursery.start_soon(self._answer, job, text)

    async def _note(self, row_id: RowId, text: ChatAnswer) -> None:
        answer = msgspec.json.encode(text)
        done: journal.Done | journal.Failed = await store(
            self._to.journal_tx,
            lambda reply: journal.NoteAnswer(row_id=row_id, answer=answer, reply=reply),
        )
        assert isinstance(done, journal.Done)

    async def _answer(self, job: Job, text: ChatAnswer | ShownByCard | None) -> None:
        """Send the answer until it is out, then close the row.

        Where a card is the answer the row stays open until the card is there: with a holder
        that is lost before, the turn is gone, and who reads the row next answers. A message
        is the answer where the turn's lane or its actor crashed, and the card may be missing.
        """
        if isinstance(text, ShownByCard):
            text = None if await self._is_shown(text) else in_chat.STOPPED_TASK
        while text is not None and not await self._answers.deliver(job, text, job.what):
            log.warning("feishu.answer_waits", message=job.message_id, what=job.what)
            await trio.sleep(ANSWER_AGAIN_S)
        await close_row(self._to.journal_tx, job.row_id, RowState.COMMAND, job.what, self._now_ms())
        await self._to.intake_tx.send(intake.CommandClosed(row_id=job.row_id))

    async def _is_shown(self, stopped: ShownByCard) -> bool:
        """Wait until people see the stopped turn; False where nobody knows whether they do."""

        async def is_shown() -> bool | None:
            try:
                return await ask(
                    self._to.lanes_tx,
                    lambda reply: lane.StopShown(
                        session_id=stopped.session_id, turn_id=stopped.turn_id, reply=reply
                    ),
                    within_s=SHOWN_WITHIN_S,
                )
            except (trio.TooSlowError, ActorGone):
                return None

        return await while_it_helps(is_shown, _SHOWN_TRIES) or False


def _noted(answer: bytes) -> ChatAnswer:
    """Read an answer as an earlier run noted it."""
    try:
        return msgspec.json.decode(answer, type=Text)
    except msgspec.ValidationError:
        return msgspec.json.decode(answer, type=CardAnswer)
