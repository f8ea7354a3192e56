"""The Typing mark on the user's message, from the offer to the end.

It is entered into the ledger before it is put and leaves it when it is taken away, so
that whatever comes between, a call answered after the end or the process's own death, a
mark that is on a message is known, and taken away at the next start at the latest.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from actors.kit.cleanup import CleanupBudget
from actors.kit.mailbox import offer
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway, intake, journal
from actors.turns.peers import Peers
from protocol.ids import AccountId, MessageId, TurnId
from protocol.platform.outcomes import (
    NoAnswer,
    Outcome,
    ReactionAdded,
    ReactionsFound,
    Rejected,
    again_after_s,
)

EMOJI: Final = "Typing"
CALL_WITHIN_S: Final = 30.0
LEDGER_WITHIN_S: Final = 4.0
_CLEAR_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.5, max_s=15.0), within_s=120.0
)
"""Then the mark stays in the ledger for the next start."""
FORGET_WITHIN_S: Final = 120.0
AT_ONCE_MAX: Final = 16
LOOK_AGAIN_S: Final = 30.0
"""After a start; the platform answers a call in a third of that, or not at all."""

log = structlog.get_logger()


class TypingMark:
    """One turn's mark on its message. Nothing here raises but a cancellation."""

    def __init__(
        self, account: AccountId, message_id: MessageId, turn_id: TurnId, peers: Peers
    ) -> None:
        self._account = account
        self._message_id = message_id
        self._turn_id = turn_id
        self._peers = peers
        self._gateway_tx = peers.gateways[account]
        self._reaction_id: str | None = None
        self._may_be_there = False
        self._in_doubt = False

    async def put(self) -> None:
        """Put the mark; a failure is ignored. It takes the place of a waiting mark."""
        offer(self._peers.intakes[self._account], intake.WaitsNoLonger(message_id=self._message_id))
        self._may_be_there = True
        if not await self._enter():
            return  # nobody would know of it after a crash
        self._in_doubt = True
        outcome = await self._call(
            gateway.AddReaction(message_id=self._message_id, emoji_type=EMOJI),
            gateway.Priority.CREATE,
        )
        self._in_doubt = isinstance(outcome, NoAnswer)
        if isinstance(outcome, ReactionAdded):
            self._reaction_id = outcome.reaction_id
            await self._enter()
        elif isinstance(outcome, Rejected):
            await self._forget()

    async def run(self, ended: trio.Event) -> None:
        """Put the mark, and take it away when *ended*; where that is cut, :meth:`clear`."""
        await self.put()
        await ended.wait()
        await self.clear()

    async def clear(self) -> None:
        """Take the mark away, and try for two minutes; it may be called again."""
        if not self._may_be_there:
            return
        outcome = await while_it_helps(self._remove, _CLEAR_TRIES)
        # One in doubt may still come, also if one is gone: that may have been of another
        # attempt at the message. The next start looks again.
        if again_after_s(outcome, 0.0) is None and not self._in_doubt:
            await self._forget()

    async def _remove(self) -> Outcome:
        """Remove the mark; where its id is not known, whatever mark of ours is there."""
        if self._reaction_id is not None:
            return await self._removed(self._reaction_id)
        found = await self._call(
            gateway.ListReactions(message_id=self._message_id, emoji_type=EMOJI),
            gateway.Priority.CREATE,
        )
        if not isinstance(found, ReactionsFound):
            return found
        outcome: Outcome = found
        for reaction_id in found.reaction_ids:
            removed = await self._removed(reaction_id)
            # What another bot put there stays, and keeps no one waiting.
            outcome = outcome if isinstance(removed, Rejected) else removed
        return outcome

    async def _removed(self, reaction_id: str) -> Outcome:
        return await self._call(
            gateway.RemoveReaction(message_id=self._message_id, reaction_id=reaction_id),
            gateway.Priority.CREATE,
        )

    async def _enter(self) -> bool:
        entry = journal.TypingEntry(
            message_id=self._message_id,
            turn_id=self._turn_id,
            account=self._account,
            reaction_id=self._reaction_id,
            term=self._peers.term,
        )
        answer: journal.Done | journal.Failed = await journal.ask_journal(
            self._peers.journal_tx,
            lambda reply: journal.EnterTyping(entry=entry, reply=reply),
            within_s=LEDGER_WITHIN_S,
        )
        if isinstance(answer, journal.Failed):
            log.error("feishu.typing.ledger_failed", reason=answer.reason)
        return isinstance(answer, journal.Done)

    async def _forget(self) -> None:
        """Take the mark out of the ledger; tried for two minutes, as its removal."""
        with trio.move_on_after(FORGET_WITHIN_S):
            await journal.ask_journal_until_stored(
                self._peers.journal_tx,
                lambda reply: journal.ForgetTyping(
                    message_id=self._message_id, turn_id=self._turn_id, reply=reply
                ),
                within_s=LEDGER_WITHIN_S,
            )
            self._may_be_there = False

    async def _call(self, operation: gateway.Operation, priority: gateway.Priority) -> Outcome:
        return await gateway.call(self._gateway_tx, operation, priority, within_s=CALL_WITHIN_S)

    @classmethod
    def of_earlier_run(cls, entry: journal.TypingEntry, peers: Peers) -> TypingMark:
        """Return a mark that an earlier run of the daemon may have put."""
        mark = cls(entry.account, entry.message_id, entry.turn_id, peers)
        mark._reaction_id, mark._may_be_there = entry.reaction_id, True
        mark._in_doubt = entry.reaction_id is None
        return mark

    @property
    def is_in_doubt(self) -> bool:
        """Whether a call that was not answered may yet put it."""
        return self._in_doubt and self._may_be_there

    def settle(self) -> None:
        """No such call is under way any more."""
        self._in_doubt = False


async def mark_until(answered: trio.Event, mark: TypingMark, cleanup: CleanupBudget) -> None:
    """Mark a message until it was answered, or until cancelled: then the mark goes too."""
    try:
        await mark.run(answered)
    finally:
        with cleanup.shielded():
            await mark.clear()  # noqa: ASYNC102  # shielded above, with a deadline


async def clear_typing(peers: Peers) -> None:
    """Take away the marks that an earlier run left, some at once.

    A mark whose call was not answered to that run may come later than this one started: it
    is looked for once more when no such call can be under way.
    """
    began = trio.current_time()
    left: tuple[journal.TypingEntry, ...] | journal.Failed
    left = await journal.ask_journal_until_stored(
        peers.journal_tx,
        lambda reply: journal.TypingLeft(term=peers.term, reply=reply),
        within_s=LEDGER_WITHIN_S,
    )
    assert not isinstance(left, journal.Failed)  # asked until it was no failure
    marks = [
        TypingMark.of_earlier_run(entry, peers) for entry in left if entry.account in peers.gateways
    ]
    await _clear_all(marks)
    in_doubt = [mark for mark in marks if mark.is_in_doubt]
    if in_doubt:
        await trio.sleep_until(began + LOOK_AGAIN_S)
    for mark in in_doubt:
        mark.settle()
    await _clear_all(in_doubt)


async def _clear_all(marks: list[TypingMark]) -> None:
    at_once = trio.CapacityLimiter(AT_ONCE_MAX)

    async def clear(mark: TypingMark) -> None:
        async with at_once:
            await mark.clear()

    async with trio.open_nursery() as nursery:
        for mark in marks:
            nursery.start_soon(clear, mark)
