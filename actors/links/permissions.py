"""What the agent of a link asks permission for: brought to where it can be shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import structlog
import trio

from actors.kit.heavy import Heavy
from actors.links.notices import EndNotices
from actors.messages import approvals, journal, link
from protocol.cards import approval, approval_card
from protocol.cards.approval import Origin
from protocol.ids import AccountId, ConnectionId, MessageId, SessionId, TurnId
from protocol.routing.delivery import Offer
from protocol.wire import messages as wire

TURNS_MAX: Final = 1_024
"""Turns whose place is remembered; a link that never ends one forgets the oldest."""

log = structlog.get_logger()


class Asks:
    """What one connection sends the approvals, and what of it is over.

    An end is kept until it is taken, and waits in line with the questions: it never comes
    before what it ends.
    """

    def __init__(
        self,
        connection_id: ConnectionId,
        approvals_tx: trio.MemorySendChannel[approvals.ApprovalsMessage],
        over: EndNotices[approvals.ApprovalsMessage],
    ) -> None:
        self.connection_id = connection_id
        self._approvals_tx = approvals_tx
        self._over = over
        self._turns: set[TurnId] = set()
        """Those of which something was asked, and which are not over."""
        self._asked = False

    async def ask(self, asked: approvals.Ask) -> None:
        self._asked = True
        if asked.turn_id is not None:
            self._turns.add(asked.turn_id)
        await self._approvals_tx.send(asked)

    async def close(self, closed: wire.PermissionClosed) -> None:
        if self._asked:
            await self._approvals_tx.send(
                approvals.Closed(
                    connection_id=self.connection_id,
                    request_id=closed.request_id,
                    reason=closed.reason,
                )
            )

    def turn_over(self, turn_id: TurnId) -> None:
        if turn_id in self._turns:
            self._turns.remove(turn_id)
            self._over.add(approvals.TurnOver(connection_id=self.connection_id, turn_id=turn_id))

    def connection_over(self) -> None:
        if self._asked:
            self._over.add(approvals.ConnectionOver(connection_id=self.connection_id))


class Permissions:
    """Knows where each turn of this link came from, and so whom its agent may ask."""

    def __init__(
        self,
        asks: Asks | None,
        mailbox: trio.MemorySendChannel[link.LinkMessage],
        send: Callable[[wire.FromDaemon], None],
        heavy: Heavy,
    ) -> None:
        self._asks = asks
        self._heavy = heavy
        self._mailbox = mailbox
        self._send = send
        self._session_id = SessionId("")
        self._alias = ""
        self._places: dict[TurnId, Origin] = {}
        self._account: AccountId | None = None

    def admitted(self, session_id: SessionId, alias: str) -> None:
        self._session_id, self._alias = session_id, alias

    def given(self, row: Offer, turn_id: TurnId) -> None:
        """Remember where a message came from."""
        prompt = row.prompt
        place = Origin(
            account=row.account,
            chat_id=prompt.chat_id,
            message_id=prompt.message_id,
            sender_id=prompt.sender_id,
            chat_type=prompt.chat_type,
            lease_epoch=row.lease_epoch,
            in_thread=prompt.thread_id is not None,
        )
        self._remember(turn_id, place)
        self._account = row.account

    def opened(self, turn_id: TurnId, place: journal.TurnPlace) -> None:
        """Remember where a turn of the session's own is shown: its starter is asked."""
        origin = Origin(
            account=place.account,
            chat_id=place.chat_id,
            message_id=place.message_id if place.thread_id else MessageId(""),
            sender_id=place.sender_id,
            chat_type=place.chat_type,
            lease_epoch=0,
            in_thread=place.thread_id is not None,
        )
        self._remember(turn_id, origin)

    def _remember(self, turn_id: TurnId, place: Origin) -> None:
        self._places[turn_id] = place
        if len(self._places) > TURNS_MAX:
            self.turn_over(next(iter(self._places)))

    async def ask(self, request: wire.PermissionRequest) -> bool:
        """Ask where the turn came from; without a turn, the admins.

        Returns whether people are asked, and their verdict follows.
        """
        reading = None
        if self._asks is not None and approval.is_askable(request):
            reading = approval_card.RequestReading(request)
            while await self._heavy.run(reading.step):
                pass
        turn_id = None if request.turn_id is None else TurnId(request.turn_id)
        place = None if turn_id is None else self._places.get(turn_id)
        nowhere = place is None and turn_id is not None
        if self._asks is None or reading is None or nowhere:
            log.warning("approval.not_askable", session=self._session_id, turn=turn_id)
            self._send(wire.PermissionVerdict(request_id=request.request_id, outcome="cancelled"))
            return False
        title = request.title[: 2 * approval_card.TITLE_CHARACTERS_MAX]
        await self._asks.ask(
            approvals.Ask(
                connection_id=self._asks.connection_id,
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
        return True

    async def close(self, closed: wire.PermissionClosed) -> None:
        if self._asks is not None:
            await self._asks.close(closed)

    def turn_over(self, turn_id: TurnId) -> None:
        """The turn ended, or was cancelled: nothing of it is asked any more."""
        self._places.pop(turn_id, None)
        if self._asks is not None:
            self._asks.turn_over(turn_id)

    def connection_over(self) -> None:
        if self._asks is not None:
            self._asks.connection_over()
