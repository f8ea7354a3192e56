"""What the agent of a link asks permission for: brought to where it can be shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import structlog
import trio

from actors.kit.heavy import Heavy
from actors.kit.mailbox import offer
from actors.messages import approvals, journal, link
from protocol.cards import approval, approval_card
from protocol.cards.approval import Origin
from protocol.ids import AccountId, ConnectionId, MessageId, SessionId, TurnId
from protocol.routing.delivery import Offer
from protocol.wire import messages as wire

TURNS_MAX: Final = 1_024
"""Turns whose place is remembered; a link that never ends one forgets the oldest."""

log = structlog.get_logger()


class Permissions:
    """Knows where each turn of this link came from, and so whom its agent may ask."""

    def __init__(
        self,
        connection_id: ConnectionId,
        approvals_tx: trio.MemorySendChannel[approvals.ApprovalsMessage] | None,
        mailbox: trio.MemorySendChannel[link.LinkMessage],
        send: Callable[[wire.FromDaemon], None],
        heavy: Heavy,
    ) -> None:
        self._id = connection_id
        self._heavy = heavy
        self._approvals_tx = approvals_tx
        self._mailbox = mailbox
        self._send = send
        self._session_id = SessionId("")
        self._alias = ""
        self._places: dict[TurnId, Origin] = {}
        self._account: AccountId | None = None
        self._asked = False

    def admitted(self, session_id: SessionId, alias: str) -> None:
        self._session_id, self._alias = session_id, alias

    def given(self, row: Offer, turn_id: TurnId) -> None:
        """Remember where a message came from."""
        prompt = row.prompt
        self._places[turn_id] = Origin(
            account=row.account,
            chat_id=prompt.chat_id,
            message_id=prompt.message_id,
            sender_id=prompt.sender_id,
            chat_type=prompt.chat_type,
            lease_epoch=row.lease_epoch,
            in_thread=prompt.thread_id is not None,
        )
        if len(self._places) > TURNS_MAX:
            del self._places[next(iter(self._places))]
        self._account = row.account

    def opened(self, turn_id: TurnId, place: journal.TurnPlace) -> None:
        """Remember where a turn of the session's own is shown: its starter is asked."""
        self._places[turn_id] = Origin(
            account=place.account,
            chat_id=place.chat_id,
            message_id=place.message_id if place.thread_id else MessageId(""),
            sender_id=place.sender_id,
            chat_type=place.chat_type,
            lease_epoch=0,
            in_thread=place.thread_id is not None,
        )

    async def ask(self, request: wire.PermissionRequest) -> None:
        """Ask where the turn came from; without a turn, the admins."""
        reading = None
        if self._approvals_tx is not None and approval.is_askable(request):
            reading = approval_card.RequestReading(request)
            while await self._heavy.run(reading.step):
                pass
        turn_id = None if request.turn_id is None else TurnId(request.turn_id)
        place = None if turn_id is None else self._places.get(turn_id)
        nowhere = place is None and turn_id is not None
        if self._approvals_tx is None or reading is None or nowhere:
            log.warning("approval.not_askable", session=self._session_id, turn=turn_id)
            self._send(wire.PermissionVerdict(request_id=request.request_id, outcome="cancelled"))
            return
        self._asked = True
        title = request.title[: 2 * approval_card.TITLE_CHARACTERS_MAX]
        await self._approvals_tx.send(
            approvals.Ask(
                connection_id=self._id,
                session_id=self._session_id,
                alias=self._alias,
                turn_id=turn_id,
                account=self._account,
                place=place,
                request=msgspec.structs.replace(request, title=title, detail=None),
                shown=reading.shown,
                file=reading.file,
                link=self._mailbox.clone(),
            )
        )

    async def close(self, closed: wire.PermissionClosed) -> None:
        if self._approvals_tx is not None and self._asked:
            await self._approvals_tx.send(
                approvals.Closed(
                    connection_id=self._id, request_id=closed.request_id, reason=closed.reason
                )
            )

    def turn_over(self, turn_id: TurnId) -> None:
        """The turn ended, or was cancelled: nothing of it is asked any more."""
        self._places.pop(turn_id, None)
        self._notify(approvals.TurnOver(connection_id=self._id, turn_id=turn_id))

    def connection_over(self) -> None:
        self._notify(approvals.ConnectionOver(connection_id=self._id))

    def _notify(self, message: approvals.ApprovalsMessage) -> None:
        if self._approvals_tx is not None and self._asked:
            offer(self._approvals_tx, message)
