"""Rows of the journal as the intake moves them: made ready, closed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import trio

from actors.intake.holding import HeldPrompt
from actors.kit.mailbox import ActorGone, Answer, Reply, put
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
    waiting: list[tuple[Answer[PrepareAnswer], HeldPrompt]] = []
    failed: list[HeldPrompt] = []
    full: list[HeldPrompt] = []
    with trio.move_on_after(JOURNAL_WITHIN_S):
        for prompt in prompts:
            answer: Answer[PrepareAnswer] = Answer()
            waiting.append((answer, prompt))
            await put(journal_tx, _prepare(prompt, Reply(answer)))
    for answer, prompt in waiting:
        stored: PrepareAnswer | None = None
        with contextlib.suppress(ActorGone, trio.TooSlowError):
            stored = await answer.receive_by(trio.current_time() + JOURNAL_WITHIN_S)
        match stored:
            case journal.Done():
                continue
            case journal.LaneFull():
                full.append(prompt)
            case _:
                failed.append(prompt)
    # Again, one by one, until they are: an order that holds is worth a wait.
    for prompt in (*failed, *prompts[len(waiting) :]):
        again: PrepareAnswer = await store(journal_tx, partial(_prepare, prompt))
        full += [prompt] if isinstance(again, journal.LaneFull) else []
    return full


def _prepare(held: HeldPrompt, reply: Reply[PrepareAnswer]) -> journal.Prepare:
    return journal.Prepare(
        rows=tuple(held.rows),
        joined_to=held.first_row if len(held.rows) > 1 else None,
        capacity=held.capacity,
        reply=reply,
    )


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
