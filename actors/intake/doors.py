"""The intake's questions to its neighbours, and its answers to people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
import structlog
import trio

from actors.kit.mail import ActorGone, Reply, ask, ask_or
from actors.messages import approvals, gateway, intake, journal, lane, ownership
from protocol import strings
from protocol.delivery import Prepared, RowState
from protocol.ids import ChatId, MessageId, RowId, idempotency_key
from protocol.platform import NoAnswer, Outcome, Rejected

JOURNAL_WITHIN_S: Final = 5.0
JOURNAL_AGAIN_S: Final = 1.0
ASK_WITHIN_S: Final = 1.2
"""A person is waiting; the platform gives a press 3 s, for two questions at most."""
CALL_WITHIN_S: Final = 30.0
ANSWERS_MAX: Final = 64
"""Answers to people under way at once; past it they are dropped, and logged."""

log = structlog.get_logger()

AnswerT = TypeVar("AnswerT")


class Neighbours(msgspec.Struct, frozen=True, kw_only=True):
    """The intake's own mailbox, for its children, and the mailboxes below it."""

    intake_tx: trio.MemorySendChannel[intake.IntakeMessage]
    journal_tx: trio.MemorySendChannel[journal.JournalMessage]
    ownership_tx: trio.MemorySendChannel[ownership.OwnershipMessage]
    lanes_tx: trio.MemorySendChannel[lane.LaneMessage]
    gateway_tx: trio.MemorySendChannel[gateway.GatewayMessage]
    approvals_tx: trio.MemorySendChannel[approvals.ApprovalsMessage]


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


async def prepare_rows(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage],
    rows: Sequence[tuple[RowId, Prepared]],
) -> None:
    """Make rows ready, in order and in as few commits as the journal makes of them."""
    waiting: list[tuple[trio.MemoryReceiveChannel[journal.Done | journal.Failed], int]] = []
    failed: list[int] = []
    with trio.move_on_after(JOURNAL_WITHIN_S):
        for at, (row_id, prepared) in enumerate(rows):
            tx, rx = trio.open_memory_channel[journal.Done | journal.Failed](1)
            waiting.append((rx, at))
            await journal_tx.send(
                journal.Prepare(row_id=row_id, prepared=prepared, reply=Reply(tx))
            )
    for rx, at in waiting:
        with rx, trio.move_on_after(JOURNAL_WITHIN_S):
            try:
                if isinstance(await rx.receive(), journal.Done):
                    continue
            except trio.EndOfChannel:
                pass
        failed.append(at)
    # Again, one by one, until they are: an order that holds is worth a wait.
    for at in (*failed, *range(len(waiting), len(rows))):
        row_id, prepared = rows[at]
        await _prepare_row(journal_tx, row_id, prepared)


async def _prepare_row(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage], row_id: RowId, prepared: Prepared
) -> None:
    done: journal.Done | journal.Failed = await store(
        journal_tx,
        lambda reply: journal.Prepare(row_id=row_id, prepared=prepared, reply=reply),
    )
    assert isinstance(done, journal.Done)


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

    def _json(self, text: strings.Text) -> str:
        return msgspec.json.encode({"text": text.speak(self._language)}).decode()

    def _start(self, operation: gateway.ReplyMessage | gateway.CreateMessage) -> None:
        self._under_way += 1
        self._nursery.start_soon(self._send, operation)

    async def _send(self, operation: gateway.ReplyMessage | gateway.CreateMessage) -> None:
        try:
            outcome = await call(self._gateway_tx, operation, gateway.Priority.FINAL)
            if isinstance(outcome, NoAnswer):
                # It may have been sent; the same uuid makes the second one harmless.
                outcome = await call(self._gateway_tx, operation, gateway.Priority.FINAL)
            if isinstance(outcome, Rejected | NoAnswer):
                log.warning(
                    "feishu.answer_failed",
                    chat=operation.chat_id,
                    outcome=type(outcome).__name__,
                )
        finally:
            self._under_way -= 1
