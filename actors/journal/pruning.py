"""Pruning: what was answered or downloaded long ago goes, a little at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog
import trio

from actors.journal.given_up import RunSync
from actors.messages import journal

KEPT_MS: Final = 30 * 24 * 3_600 * 1_000
"""Answered rows are kept 30 days; de-duplication needs 7 of them."""
ATTACHMENTS_KEPT_S: Final = 7 * 24 * 3_600
EVERY_S: Final = 3_600.0
ROWS_MAX: Final = 1_000
"""Of one commit, so that no event waits for a long one."""
PAUSE_S: Final = 0.5
ASK_WITHIN_S: Final = 30.0

log = structlog.get_logger()


async def run(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage],
    attachments: Path,
    *,
    now_ms: Callable[[], int],
    in_thread: RunSync,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Prune each hour, until cancelled."""
    task_status.started()
    while True:
        pruning = True
        while pruning:
            pruning = await _prune_some(journal_tx, now_ms() - KEPT_MS)
            await trio.sleep(PAUSE_S)
        await in_thread(remove_old, attachments, now_ms() / 1000 - ATTACHMENTS_KEPT_S)
        await trio.sleep(EVERY_S)


async def _prune_some(
    journal_tx: trio.MemorySendChannel[journal.JournalMessage], before_ms: int
) -> bool:
    """Prune a few rows; return whether there may be more."""
    answer: journal.Done | journal.Failed = await journal.ask_journal(
        journal_tx,
        lambda reply: journal.Prune(before_ms=before_ms, limit=ROWS_MAX, reply=reply),
        within_s=ASK_WITHIN_S,
    )
    match answer:
        case journal.Done(changed=changed):
            return changed
        case journal.Failed(reason=reason):
            log.warning("journal.not_pruned", reason=reason)
            return False


def remove_old(folder: Path, before_s: float) -> int:
    """Remove what was downloaded before a moment; return how many messages it was of."""
    removed = 0
    for inner in _folders(folder):
        try:
            if inner.stat().st_mtime >= before_s:
                continue
            for file in inner.iterdir():
                file.unlink()
            inner.rmdir()
            removed += 1
        except OSError as failed:
            log.warning("attachments.not_removed", folder=inner.name, reason=str(failed))
    return removed


def _folders(folder: Path) -> Sequence[Path]:
    try:
        return [inner for inner in folder.iterdir() if inner.is_dir() and not inner.is_symlink()]
    except OSError:
        return []
