"""The card of one request: sent, left standing, and brought to its last state.

It is a message of its own, not a card entity: nothing in it streams. A ledger holds it
from its sending to its last state, so that no buttons are left looking alive.
"""

from __future__ import annotations

from typing import Final

import msgspec
import structlog
import trio

from actors.approvals.peers import Peers
from actors.kit.mailbox import ask_or
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import approvals, gateway, journal
from protocol import strings
from protocol.cards import approval_card
from protocol.cards.approval import Approval
from protocol.ids import AccountId, MessageId, idempotency_key
from protocol.platform.outcomes import (
    FileUploaded,
    Gone,
    MessageSent,
    NoAnswer,
    Outcome,
    RateLimited,
    Rejected,
    again_after_s,
)

CALL_WITHIN_S: Final = 30.0
LEDGER_WITHIN_S: Final = 4.0
_TRIES: Final = Tries(
    again_after_s=again_after_s, pauses=Pauses(first_s=0.5, max_s=15.0), within_s=300.0
)
"""Then the ledger keeps the card for the next start."""

log = structlog.get_logger()


class ApprovalCard:
    """One request's message. :meth:`end` may be called at any time, once."""

    def __init__(self, asked: Approval, opening: str, file: bytes | None, peers: Peers) -> None:
        self._approval = asked
        self.file = file
        """What is to be sent before the card, until it was."""
        self._opening = opening
        self._peers = peers
        self._ended = trio.Event()
        self._may_stand = False
        """Whether the platform may show the card, also where it has not said so."""
        self._last = approval_card.closed_card(asked, strings.APPROVAL_STOPPED)

    def end(self, last: str) -> None:
        """Show this last; the card's own task does it."""
        if not self._ended.is_set():
            self._last = last
            self._ended.set()

    async def run(self, valid_s: float) -> None:
        """Send the card, wait for its end, show its end. Cancelled, it is closed all the same."""
        message_id: MessageId | None = None
        closed = False
        try:
            message_id = await self._send()
            if message_id is None:
                await self._report_expired(shown=False)
                return
            await self._enter(message_id)
            with trio.move_on_after(valid_s):
                await self._ended.wait()
            if not self._ended.is_set():
                await self._report_expired(shown=True)
                await self._ended.wait()
            await self._show_last(message_id)
            closed = True
        finally:
            if self._may_stand and not closed:
                with self._peers.cleanup.shielded():
                    await self._close(message_id)  # noqa: ASYNC102  # shielded above, with a deadline

    async def _close(self, message_id: MessageId | None) -> None:
        """Show the end on the way out. Cut off as it was sent, the same call says which it is."""
        if message_id is None:
            sent = await self._send_message("interactive", self._opening, "approval")
            message_id = sent.message_id if isinstance(sent, MessageSent) else None
        if message_id is not None:
            await self._show_last(message_id)

    async def _show_last(self, message_id: MessageId) -> None:
        await show_last(self._peers, self._approval.place.account, message_id, self._last)

    async def _report_expired(self, *, shown: bool) -> None:
        await self._peers.own_tx.send(approvals.Expired(key=self._approval.key, shown=shown))

    async def _send(self) -> MessageId | None:
        """Send the card, after the file it needs; None: it can't be shown."""
        if self.file is not None:
            # Nobody is offered Allow for what they could not read.
            upload = gateway.UploadFile(file_type="stream", name="request.txt", content=self.file)
            uploaded = await call(self._peers, self._approval.place.account, upload)
            if not isinstance(uploaded, FileUploaded):
                self._not_shown(uploaded)
                return None
            self.file = None
            content = msgspec.json.encode({"file_key": uploaded.file_key}).decode()
            sent = await self._send_message("file", content, "approval-file")
            if not isinstance(sent, MessageSent):
                self._not_shown(sent)
                return None
        self._may_stand = True
        outcome = await self._send_message("interactive", self._opening, "approval")
        if not isinstance(outcome, MessageSent):
            self._may_stand = False
            self._not_shown(outcome)
            return None
        return outcome.message_id

    async def _send_message(
        self, msg_type: gateway.MessageType, content_json: str, purpose: str
    ) -> Outcome:
        """Reply to the message the agent works on; where that is gone, post to its chat."""
        place = self._approval.place
        outcome: Outcome = Gone(code=0, message="no message to reply to")
        if place.message_id:
            reply = gateway.ReplyMessage(
                message_id=place.message_id,
                chat_id=place.chat_id,
                in_thread=place.in_thread,
                msg_type=msg_type,
                content_json=content_json,
                uuid=idempotency_key(purpose, self._approval.key),
            )
            outcome = await call(self._peers, place.account, reply)
        if isinstance(outcome, Gone):
            create = gateway.CreateMessage(
                chat_id=place.chat_id,
                msg_type=msg_type,
                content_json=content_json,
                uuid=idempotency_key(f"{purpose}-chat", self._approval.key),
            )
            outcome = await call(self._peers, place.account, create)
        return outcome

    def _not_shown(self, outcome: Outcome) -> None:
        log.warning(
            "approval.not_shown", request=self._approval.key, outcome=type(outcome).__name__
        )

    async def _enter(self, message_id: MessageId) -> None:
        """Enter the card into the ledger, with what a later start would show."""
        entry = journal.ApprovalLeft(
            message_id=message_id,
            account=self._approval.place.account,
            last_card=approval_card.closed_card(self._approval, strings.INTERRUPTED),
        )
        answer: journal.Done | journal.Failed = await journal.ask_journal(
            self._peers.journal_tx,
            lambda reply: journal.EnterApproval(entry=entry, reply=reply),
            within_s=LEDGER_WITHIN_S,
        )
        if isinstance(answer, journal.Failed):
            log.error("approval.ledger_failed", message=message_id, reason=answer.reason)


async def close_what_was_left(peers: Peers) -> None:
    """Close the cards an earlier run left open. What fails stays for the next start."""
    left: tuple[journal.ApprovalLeft, ...] | journal.Failed = await journal.ask_journal(
        peers.journal_tx, lambda reply: journal.ApprovalsLeft(reply=reply), within_s=LEDGER_WITHIN_S
    )
    if isinstance(left, journal.Failed):
        log.error("approval.ledger_failed", reason=left.reason)
        return
    for entry in left:
        if entry.account in peers.gateways:
            await show_last(peers, entry.account, entry.message_id, entry.last_card)


async def show_last(
    peers: Peers, account: AccountId, message_id: MessageId, card_json: str
) -> None:
    """Bring a card to its last state, and out of the ledger once it is there."""
    operation = gateway.PatchMessage(message_id=message_id, content_json=card_json)
    outcome = await call(peers, account, operation)
    if isinstance(outcome, NoAnswer | RateLimited):
        log.warning("approval.card_left_open", message=message_id)
        return
    if isinstance(outcome, Rejected) and not isinstance(outcome, Gone):
        log.warning("approval.card_refused", message=message_id, reason=outcome.message)
    await journal.ask_journal(
        peers.journal_tx,
        lambda reply: journal.ForgetApproval(message_id=message_id, reply=reply),
        within_s=LEDGER_WITHIN_S,
    )


async def call(peers: Peers, account: AccountId, operation: gateway.Operation) -> Outcome:
    """Make one call, again while that may help; every send has its own ``uuid``."""
    return await while_it_helps(
        lambda: ask_or(
            peers.gateways[account],
            lambda reply: gateway.Call(
                operation=operation, priority=gateway.Priority.FINAL, reply=reply
            ),
            within_s=CALL_WITHIN_S,
            otherwise=lambda reason: NoAnswer(reason=reason),
        ),
        _TRIES,
    )
