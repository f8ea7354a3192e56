"""The card of one request: entered, sent, left standing, and brought to its last state.

It is a message of its own, not a card entity: nothing in it streams. A ledger holds it
from before its sending to its last state, so that no buttons are left looking alive.
"""

from __future__ import annotations

from typing import Final

import msgspec
import structlog
import trio
from msgspec.structs import replace

from actors.approvals.closing import call, close_left, forget, send, send_opening
from actors.approvals.peers import Peers
from actors.messages import approvals, gateway, journal
from protocol.cards import approval_card
from protocol.cards.approval import Approval
from protocol.platform.outcomes import FileUploaded, MessageSent, Outcome
from protocol.strings import on_card

LEDGER_WITHIN_S: Final = 4.0
ENTER_WITHIN_S: Final = 60.0
"""Then the request is not shown, and its agent is answered: nothing is sent without an entry."""

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
        self._entry: journal.ApprovalLeft | None = None
        """What the ledger may hold."""
        self._may_stand = False
        """Whether the platform may show the card, also where it has not answered so."""
        self._last = approval_card.closed_card(asked, on_card.APPROVAL_STOPPED)

    def end(self, last: str) -> None:
        """Show this last; the card's own task does it."""
        if not self._ended.is_set():
            self._last = last
            self._ended.set()

    async def run(self, valid_s: float) -> None:
        """Send the card, wait for its end, show its end. Cancelled, it is closed all the same."""
        try:
            if await self._send():
                await self._stand(valid_s)
            else:
                await self._report_expired(shown=False)
                await self._ended.wait()
            await trio.lowlevel.checkpoint_if_cancelled()  # then it is closed below, once
            await self._close()
        finally:
            if self._entry is not None:
                with self._peers.cleanup.shielded():
                    await self._close()  # noqa: ASYNC102  # shielded above, with a deadline

    async def _stand(self, valid_s: float) -> None:
        """Wait until the request is decided or over; meanwhile the ledger learns the message."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._enter)
            with trio.move_on_after(valid_s):
                await self._ended.wait()
            if not self._ended.is_set():
                await self._report_expired(shown=True)
                await self._ended.wait()
            nursery.cancel_scope.cancel("the card is over")

    async def _close(self) -> None:
        """Show the end, wherever the card stands, and take it out of the ledger."""
        if self._entry is None:
            return
        if self._may_stand:
            await close_left(self._peers, replace(self._entry, last_card=self._last))
        else:
            await forget(self._peers, self._entry.entry_id)
        self._entry = None

    async def _report_expired(self, *, shown: bool) -> None:
        await self._peers.own_tx.send(approvals.Expired(key=self._approval.key, shown=shown))

    async def _send(self) -> bool:
        """Send the card, after the file it needs; False: nobody can be shown it."""
        place = self._approval.place
        opening = journal.ApprovalOpening(
            reply_to=place.message_id,
            chat_id=place.chat_id,
            in_thread=place.in_thread,
            content_json=self._opening,
            sent_at_ms=self._peers.now_ms(),
        )
        if self.file is not None and not await self._send_file(self.file, opening):
            return False
        self._entry = journal.ApprovalLeft(
            entry_id=self._approval.key,
            account=place.account,
            last_card=approval_card.closed_card(self._approval, on_card.INTERRUPTED),
            opening=opening,
        )
        with trio.move_on_after(ENTER_WITHIN_S) as entering:
            await self._enter()
        if entering.cancelled_caught:
            return False
        self._may_stand = True
        sent = await send_opening(self._peers, self._entry, opening)
        if isinstance(sent.outcome, MessageSent):
            self._entry = replace(self._entry, message_id=sent.outcome.message_id, opening=None)
            return True
        self._may_stand = sent.in_doubt
        self._not_shown(sent.outcome)
        return False

    async def _send_file(self, file: bytes, opening: journal.ApprovalOpening) -> bool:
        """Send what the card can't hold: nobody is offered Allow for what they could not read."""
        account = self._approval.place.account
        upload = gateway.UploadFile(file_type="stream", name="request.txt", content=file)
        uploaded = await call(self._peers, account, upload)
        if not isinstance(uploaded, FileUploaded):
            self._not_shown(uploaded)
            return False
        content = msgspec.json.encode({"file_key": uploaded.file_key}).decode()
        sent = await send(
            self._peers,
            account,
            replace(opening, content_json=content),
            msg_type="file",
            names=("approval-file", self._approval.key),
        )
        if not isinstance(sent.outcome, MessageSent):
            self._not_shown(sent.outcome)
            return False
        self.file = None
        return True

    def _not_shown(self, outcome: Outcome) -> None:
        log.warning(
            "approval.not_shown", request=self._approval.key, outcome=type(outcome).__name__
        )

    async def _enter(self) -> None:
        """Enter the card into the ledger as it is now, with what a later start would show."""
        entry = self._entry
        assert entry is not None
        await journal.ask_journal_until_stored(
            self._peers.journal_tx,
            lambda reply: journal.EnterApproval(entry=entry, reply=reply),
            within_s=LEDGER_WITHIN_S,
        )
