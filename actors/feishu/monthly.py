"""How many calls an account has made this month, kept in the journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

from actors.messages import journal
from protocol.ids import AccountId
from protocol.platform.monthly import month_of

ASK_WITHIN_S: Final = 5.0

log = structlog.get_logger()


class MonthlyCount:
    """The count. While the journal does not answer it goes on from what was known."""

    def __init__(
        self,
        account: AccountId,
        journal_tx: trio.MemorySendChannel[journal.JournalMessage],
        now_ms: Callable[[], int],
    ) -> None:
        self._account = account
        self._journal_tx = journal_tx
        self._now_ms = now_ms
        self._month = ""
        self._known = 0
        self._uncounted = 0

    async def add(self, calls: int) -> int:
        """Add calls; return how many there are in this month."""
        month = month_of(self._now_ms())
        if month != self._month:
            self._month, self._known, self._uncounted = month, 0, 0
        self._uncounted += calls
        answer: int | journal.Failed = await journal.ask_journal(
            self._journal_tx,
            lambda reply: journal.CountCalls(
                account=self._account, month=month, calls=self._uncounted, reply=reply
            ),
            within_s=ASK_WITHIN_S,
        )
        if isinstance(answer, journal.Failed):
            log.warning("feishu.calls_not_counted", account=self._account, reason=answer.reason)
            return self._known + self._uncounted
        self._known, self._uncounted = answer, 0
        return answer
