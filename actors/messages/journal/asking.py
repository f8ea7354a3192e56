"""The two ways to write to the journal: a question with a deadline, and one until it is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
import trio

from actors.kit.mailbox import Reply, ask_or
from actors.messages.journal.answers import Failed

if TYPE_CHECKING:
    from actors.messages.journal import JournalMessage

AGAIN_AFTER_S: Final = 1.0

AnswerT = TypeVar("AnswerT")

log = structlog.get_logger()


async def ask_journal(
    journal_tx: trio.MemorySendChannel[JournalMessage],
    build: Callable[[Reply[AnswerT]], JournalMessage],
    *,
    within_s: float,
) -> AnswerT | Failed:
    """Ask; a journal that is late or gone has failed like any other.

    After such a failure the message may still take effect.
    """
    return await ask_or(
        journal_tx,
        build,
        within_s=within_s,
        otherwise=lambda reason: Failed(reason=f"journal: {reason}"),
    )


async def ask_journal_until_stored(
    journal_tx: trio.MemorySendChannel[JournalMessage],
    build: Callable[[Reply[AnswerT]], JournalMessage],
    *,
    within_s: float,
) -> AnswerT:
    """Ask once a second until it does not fail. For what can be repeated without harm.

    *within_s* is the deadline of each try; cancel to give up.
    """
    while True:
        answer: AnswerT | Failed = await ask_journal(journal_tx, build, within_s=within_s)
        if not isinstance(answer, Failed):
            return answer
        log.error("journal.failed", reason=answer.reason)
        await trio.sleep(AGAIN_AFTER_S)
