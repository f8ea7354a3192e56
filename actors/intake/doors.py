"""The intake's questions to its peers, and its answers to people."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
import structlog
import trio

from actors.kit.mailbox import ActorGone, Reply, ask, ask_or
from actors.messages import agents, approvals, gateway, intake, journal, lane, ownership
from protocol import strings
from protocol.ids import ChatId, MessageId, RowId, SessionId, idempotency_key
from protocol.platform.outcomes import NoAnswer, Outcome, Rejected, again_after_s
from protocol.routing.delivery import Prepared, RowState

JOURNAL_WITHIN_S: Final = 5.0
JOURNAL_AGAIN_S: Final = 1.0
ASK_WITHIN_S: Final = 1.2
"""A person is waiting; the platform gives a press 3 s, for two questions at most."""
CALL_WITHIN_S: Final = 30.0
ANSWER_WITHIN_S: Final = 60.0
ANSWER_AGAIN_S: Final = 0.5
ANSWERS_MAX: Final = 64
"""Answers to people under way at once; past it they are dropped, and logged."""

log = structlog.get_logger()

AnswerT = TypeVar("AnswerT")


class Peers(msgspec.Struct, frozen=True, kw_only=True):
    """The intake's own mailbox, for its children, and the mailboxes below it."""

    intake_tx: trio.MemorySendChannel[intake.IntakeMessage]
    journal_tx: trio.MemorySendChannel[journal.JournalMessage]
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage]
    lanes_tx: trio.MemorySendChannel[lane.LaneMessage]
    gateway_tx: trio.MemorySendChannel[gateway.GatewayMessage]
    approvals_tx: trio.MemorySendChannel[approvals.ApprovalsMessage]
    agents_tx: trio.MemorySendChannel[agents.AgentsMessage]


async def store(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage],
    build: Callable[[Reply[AnswerT]], journal.JournalMessage],
) -> AnswerT:
    """Ask the journal until it answers: nothing can go on without it.

    What waits meanwhile waits in our mailbox, and then in Feishu's own retries.
    """
    while True:
        answer: AnswerT | journal.Failed = await ask_or(
            journal_tx,
            build,
            within_s=JOURNAL_WITHIN_S,
            otherwise=lambda reason: journal.Failed(reason=reason),
        )
        if not isinstance(answer, journal.Failed):
            return answer
        log.error("journal.failed", reason=answer.reason)
        await trio.sleep(JOURNAL_AGAIN_S)


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A row on its way to ``ready``, and the room there is where it goes."""

    row_id: RowId
    prepared: Prepared
    dispatched_to: SessionId | None = None
    """The session its chat was on when it came, where that is some time ago."""
    room: journal.Capacity | None = None


PrepareAnswer = journal.Done | journal.LaneFull | journal.Failed


async def prepare_rows(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage],
    prompts: Sequence[Prompt],
) -> list[Prompt]:
    """Make rows ready, in order and in as few commits as the journal makes of them.

    Return those there was no room for; nothing has become of them.
    """
    waiting: list[tuple[trio.MemoryReceiveChannel[PrepareAnswer], Prompt]] = []
    failed: list[Prompt] = []
    full: list[Prompt] = []
    with trio.move_on_after(JOURNAL_WITHIN_S):
        for prompt in prompts:
            tx, rx = trio.open_memory_channel[PrepareAnswer](1)
            waiting.append((rx, prompt))
            await journal_tx.send(_prepare(prompt, Reply(tx)))
    for rx, prompt in waiting:
        answer: PrepareAnswer | None = None
        with rx, trio.move_on_after(JOURNAL_WITHIN_S), contextlib.suppress(trio.EndOfChannel):
            answer = await rx.receive()
        match answer:
            case journal.Done():
                continue
            case journal.LaneFull():
                full.append(prompt)
            case _:
                failed.append(prompt)
    # Again, one by one, until they are: an order that holds is worth a wait.
    for prompt in (*failed, *prompts[len(waiting) :]):
        stored = await _prepare_until_stored(journal_tx, prompt)
        full += [prompt] if isinstance(stored, journal.LaneFull) else []
    return full


def _prepare(prompt: Prompt, reply: Reply[PrepareAnswer]) -> journal.Prepare:
    return journal.Prepare(
        row_id=prompt.row_id,
        prepared=prompt.prepared,
        capacity=prompt.room,
        reply=reply,
    )


async def _prepare_until_stored(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage], prompt: Prompt
) -> PrepareAnswer:
    answer: PrepareAnswer = await store(journal_tx, lambda reply: _prepare(prompt, reply))
    return answer


async def close_row(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage],
    row_id: RowId,
    state: RowState,
    note: str | None,
    at_ms: int,
) -> None:
    """Bring a row to a state nothing moves it out of."""
    done: journal.Done | journal.Failed = await store(
        journal_tx,
        lambda reply: journal.Close(
            row_id=row_id, state=state, note=note, at_ms=at_ms, reply=reply
        ),
    )
    assert isinstance(done, journal.Done)


async def who_hears(
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage], chat_id: ChatId
) -> ownership.ChatSession | None:
    """Ask which session hears a chat; None where ownership does not answer in time."""
    try:
        heard: ownership.ChatSession = await ask(
            ownership_tx,
            lambda reply: ownership.WhoHears(chat_id=chat_id, reply=reply),
            within_s=ASK_WITHIN_S,
        )
    except (trio.TooSlowError, ActorGone):
        return None
    return heard


async def call(
    gateway_tx: trio.MemorySendChannel[gateway.GatewayMessage],
    operation: gateway.Operation,
    priority: gateway.Priority,
) -> Outcome:
    return await ask_or(
        gateway_tx,
        lambda reply: gateway.Call(operation=operation, priority=priority, reply=reply),
        within_s=CALL_WITHIN_S,
        otherwise=lambda reason: NoAnswer(reason=reason),
    )


class Answers:
    """Plain text replies to people, each in a task of its own; nobody waits for one."""

    def __init__(
        self,
        nursery: trio.Nursery,
        gateway_tx: trio.MemorySendChannel[gateway.GatewayMessage],
        language: strings.Language,
    ) -> None:
        self._nursery = nursery
        self._gateway_tx = gateway_tx
        self._language = language
        self._under_way = 0

    def send(self, message_id: MessageId, chat_id: ChatId, text: strings.Text, what: str) -> None:
        """Reply to a message. *what* tells this answer from others to the same message."""
        if self._under_way >= ANSWERS_MAX:
            log.warning("feishu.answer_dropped", message=message_id, what=what)
            return
        self._start(self.reply(message_id, chat_id, text, what))

    async def tell(
        self, message_id: MessageId, chat_id: ChatId, text: strings.Text, what: str
    ) -> bool:
        """Reply to a message, and wait; say whether there is nothing more to be done.

        That is when it was told, or can't be: the message is gone, for example.
        """
        operation = self.reply(message_id, chat_id, text, what)
        return not isinstance(await self._until_answered(operation), NoAnswer)

    def post(self, chat_id: ChatId, text: strings.Text, uuid: str) -> None:
        """Say something in a chat, not as a reply; *uuid* makes a repeat harmless."""
        if self._under_way >= ANSWERS_MAX:
            log.warning("feishu.answer_dropped", chat=chat_id)
            return
        self._start(
            gateway.CreateMessage(
                chat_id=chat_id, msg_type="text", content_json=self._json(text), uuid=uuid
            )
        )

    def reply(
        self, message_id: MessageId, chat_id: ChatId, text: strings.Text, what: str
    ) -> gateway.ReplyMessage:
        """Return the call that replies to a message."""
        return gateway.ReplyMessage(
            message_id=message_id,
            chat_id=chat_id,
            msg_type="text",
            content_json=self._json(text),
            uuid=idempotency_key(message_id, what),
        )

    def start(self, operation: gateway.Operation) -> None:
        """Make a call whose outcome matters to nobody."""
        if self._under_way < ANSWERS_MAX:
            self._start(operation)

    def _json(self, text: strings.Text) -> str:
        return msgspec.json.encode({"text": text.speak(self._language)}).decode()

    def _start(self, operation: gateway.Operation) -> None:
        self._under_way += 1
        self._nursery.start_soon(self._send, operation)

    async def _until_answered(self, operation: gateway.Operation) -> Outcome:
        """Make the call again while there is a chance; its uuid makes that harmless."""
        until = trio.current_time() + ANSWER_WITHIN_S
        while True:
            outcome = await call(self._gateway_tx, operation, gateway.Priority.FINAL)
            again_s = again_after_s(outcome, ANSWER_AGAIN_S)
            if again_s is None or trio.current_time() + again_s > until:
                return outcome
            await trio.sleep(again_s)

    async def _send(self, operation: gateway.Operation) -> None:
        try:
            outcome = await self._until_answered(operation)
            if isinstance(outcome, Rejected | NoAnswer):
                log.warning(
                    "feishu.answer_failed",
                    what=type(operation).__name__,
                    outcome=type(outcome).__name__,
                )
        finally:
            self._under_way -= 1
