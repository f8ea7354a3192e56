"""Rows of the journal as the intake moves them: made ready, closed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import trio

from actors.intake.holding import HeldPrompt
from actors.kit.mailbox import Reply
from actors.messages import journal
from protocol.ids import ChatId, RowId
from protocol.routing.delivery import RowState

JOURNAL_WITHIN_S: Final = 5.0

AnswerT = TypeVar("AnswerT")


async def store(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage],
    build: Callable[[Reply[AnswerT]], journal.JournalMessage],
) -> AnswerT:
    """Ask the journal until it answers: nothing can go on without it.

    What waits meanwhile waits in our mailbox, and then in Feishu's own retries.
    """
    return await journal.ask_journal_until_stored(journal_tx, build, within_s=JOURNAL_WITHIN_S)


PrepareAnswer = journal.Done | journal.LaneFull | journal.Failed


async def prepare_rows(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage],
    prompts: Sequence[HeldPrompt],
) -> list[HeldPrompt]:
    """Make rows ready, in order and in as few commits as the journal makes of them.

    Return those the lane had no capacity for; nothing has become of them.
    """
    waiting: list[tuple[trio.MemoryReceiveChannel[PrepareAnswer], HeldPrompt]] = []
    failed: list[HeldPrompt] = []
    full: list[HeldPrompt] = []
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


def _prepare(held: HeldPrompt, reply: Reply[PrepareAnswer]) -> journal.Prepare:
    first, *others = held.parts
    joined = journal.Joined(
        to=held.first_row,
        others=tuple(journal.PreparedRow(row_id=one.row_id, prompt=one.prompt) for one in others),
    )
    return journal.Prepare(
        row_id=first.row_id,
        prompt=first.prompt,
        joined=joined if others else None,
        capacity=held.capacity,
        reply=reply,
    )


async def _prepare_until_stored(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage], held: HeldPrompt
) -> PrepareAnswer:
    answer: PrepareAnswer = await store(journal_tx, lambda reply: _prepare(held, reply))
    return answer


async def close_row(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage],
    row_id: RowId,
    state: RowState,
    note: str | None,
    at_ms: int,
    *,
    chat_id: ChatId | None = None,
) -> None:
    """Bring a row to a state nothing moves it out of."""
    done: journal.Done | journal.Failed = await store(
        journal_tx,
        lambda reply: journal.Close(
            row_id=row_id, state=state, note=note, at_ms=at_ms, chat_id=chat_id, reply=reply
        ),
    )
    assert isinstance(done, journal.Done)
